"""A list of files is the same list by positions, names and sizes, whatever its links."""

from __future__ import annotations

from collections.abc import Sequence

from streamer.core.files import file_list, first_position, start_of
from streamer.core.states import Position
from streamer.model import ExportFile, Link
from tests.unit.cases import cases


def listed(*files: tuple[str, int], signature: str = "s") -> Sequence[ExportFile]:
    return [ExportFile(Link(f"https://blobs.test/x/{name}?sig={signature}"), size) for name, size in files]


FILES = listed(("a.jsonl", 10), ("b.jsonl", 0), ("c.jsonl", 30))


def test_a_list_is_remembered_by_count_size_and_digest() -> None:
    remembered = file_list(FILES)
    assert (remembered.count, remembered.size) == (3, 40)


def test_fresh_links_to_the_same_files_make_the_same_list() -> None:
    fresh = listed(("a.jsonl", 10), ("b.jsonl", 0), ("c.jsonl", 30), signature="fresh")
    assert file_list(fresh) == file_list(FILES)


@cases(
    "other",
    [
        listed(("a.jsonl", 10), ("b.jsonl", 0)),
        listed(("a.jsonl", 10), ("b.jsonl", 0), ("c.jsonl", 30), ("d.jsonl", 0)),
        listed(("b.jsonl", 0), ("a.jsonl", 10), ("c.jsonl", 30)),
        listed(("a.jsonl", 10), ("b.jsonl", 0), ("z.jsonl", 30)),
        listed(("a.jsonl", 0), ("b.jsonl", 10), ("c.jsonl", 30)),
        listed(("a.jsonl", 10), ("b.jsonl", 1), ("c.jsonl", 30)),
        (),
    ],
)
def test_any_other_list_is_another_one(other: Sequence[ExportFile]) -> None:
    assert file_list(other).digest != file_list(FILES).digest


def test_publishing_begins_at_the_first_byte_of_the_first_file() -> None:
    assert first_position(FILES) == Position(file=0, offset=0, line=0, name="a.jsonl", size=10)


def test_each_file_starts_at_its_first_byte() -> None:
    assert start_of(FILES, 2) == Position(file=2, name="c.jsonl", size=30)


def test_past_the_last_file_there_is_the_end_of_the_export() -> None:
    assert start_of(FILES, 3) == Position(file=3)
    assert first_position(()) == Position(file=0)
