import json
from datetime import UTC, datetime, timedelta
from typing import Literal

from streamer.sandbox.entities import page
from streamer.sandbox.export_files import (
    ExportFile,
    GivenFile,
    Rounds,
    SpoiledFile,
    generated_files,
    updates_between,
)
from tests.unit.cases import cases

NOW = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ROUNDS = Rounds(count=1000, cycle_seconds=86_400)
PAGE = page("ResourceBlock", 1)


def export(
    start: datetime | None = None, end: datetime | None = None, *, files: int = 3, now: datetime = NOW
) -> list[ExportFile]:
    return generated_files(PAGE, ROUNDS, updates_between(ROUNDS, start, end, now), files, now)


def content(files: list[ExportFile]) -> bytes:
    return b"".join(piece for file in files for piece in file.read(0, file.size))


def updated(files: list[ExportFile]) -> dict[str, str]:
    entities = [json.loads(line) for line in content(files).split(b"\n")[:-1]]
    stamps = {entity["Id"]: entity["UpdatedUtc"] for entity in entities}
    assert len(stamps) == len(entities) == sum(file.lines for file in files)
    return stamps


def test_a_snapshot_holds_every_entity_once_spread_over_the_files() -> None:
    files = export()
    assert len(updated(files)) == 1000
    assert [file.lines for file in files] == [333, 333, 334]
    assert all(len(content([file])) == file.size for file in files)


def test_nothing_was_updated_after_now_or_more_than_a_round_ago() -> None:
    stamps = updated(export()).values()
    assert max(stamps) <= "2026-05-01T12:00:00Z"
    assert min(stamps) > "2026-04-30T11:58:00Z"


@cases("hours", [1, 5, 20])
def test_a_window_holds_just_what_a_snapshot_says_was_updated_in_it(hours: int) -> None:
    end = datetime(2026, 5, 1, 10, 0, 1, tzinfo=UTC)
    start = end - timedelta(hours=hours)
    bounds = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (start, end)]
    expected = {key: stamp for key, stamp in updated(export()).items() if bounds[0] <= stamp < bounds[1]}
    assert updated(export(start, end)) == expected
    assert expected


def test_chained_windows_miss_and_repeat_nothing() -> None:
    end = NOW - timedelta(minutes=10)
    middle, start = end - timedelta(hours=1), end - timedelta(hours=2)
    first, second = updated(export(start, middle)), updated(export(middle, end))
    assert not first.keys() & second.keys()
    assert first | second == updated(export(start, end))


def test_equal_bounds_match_one_second_and_an_old_window_nothing() -> None:
    stamp = next(iter(updated(export()).values()))
    moment = datetime.fromisoformat(stamp)
    assert set(updated(export(moment, moment)).values()) == {stamp}
    assert export(NOW - timedelta(days=3), NOW - timedelta(days=2)) == []


def test_an_entity_keeps_its_content_over_updates() -> None:
    def without_stamps(now: datetime) -> set[str]:
        entities = [json.loads(line) for line in content(export(now=now)).split(b"\n")[:-1]]
        return {json.dumps(entity | {"UpdatedUtc": None}) for entity in entities}

    assert without_stamps(NOW) == without_stamps(NOW + timedelta(days=40, hours=7))


def test_any_range_of_a_file_is_that_part_of_the_whole() -> None:
    file = export(NOW - timedelta(hours=20), NOW - timedelta(hours=1), files=2)[1]
    whole = content([file])
    for start in range(0, file.size, 7919):
        for length in (1, 500, 300_000):
            stop = min(start + length, file.size)
            assert b"".join(file.read(start, stop)) == whole[start:stop]


def test_fewer_lines_than_files_make_fewer_files() -> None:
    few = Rounds(count=2, cycle_seconds=86_400)
    assert len(generated_files(PAGE, few, updates_between(few, None, None, NOW), 5, NOW)) == 2


def test_ledger_entries_stay_what_they_are_and_have_the_day_they_were_posted() -> None:
    rounds, ledger = Rounds(count=3650, cycle_seconds=365 * 86_400, repeated=False), page("LedgerEntry", 1)
    day = datetime(2026, 4, 1, tzinfo=UTC)

    def entries(days: int, now: datetime) -> list[bytes]:
        updates = updates_between(rounds, day, day + timedelta(days=days), now)
        return content(generated_files(ledger, rounds, updates, 2, now)).split(b"\n")[:-1]

    assert len(entries(10, NOW)) == 100
    assert set(entries(1, NOW)) <= set(entries(10, NOW + timedelta(days=300)))
    assert {json.loads(line)["PostingDate"] for line in entries(2, NOW)} == {"2026-04-01", "2026-04-02"}


@cases(("data", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\n\nb", 3)])
def test_a_given_file_is_its_bytes(data: bytes, lines: int) -> None:
    file = GivenFile(data)
    assert (file.size, file.lines, b"".join(file.read(0, file.size))) == (len(data), lines, data)
    assert b"".join(file.read(1, file.size)) == data[1:]


@cases(
    ("how", "spoiled"),
    [
        ("cut", b'{"Id"     \n{"Id":"b"}\n'),
        ("no_id", b'{"iD":"a"}\n{"Id":"b"}\n'),
        ("not_utf8", b'{"Id":"\xff"}\n{"Id":"b"}\n'),
        ("other_type", b'{"Id":"a"}\n{"Id":"b"}\n'),
    ],
)
def test_a_spoiled_line_leaves_the_file_as_long_as_it_was(
    how: Literal["cut", "no_id", "not_utf8", "other_type"], spoiled: bytes
) -> None:
    file = SpoiledFile.of(GivenFile(b'{"Id":"a"}\n{"Id":"b"}\n'), how)
    for start in range(file.size):
        for stop in range(start, file.size + 1):
            assert b"".join(file.read(start, stop)) == spoiled[start:stop]
    assert (file.size, file.lines) == (len(spoiled), 2)


def test_a_line_of_another_type_has_a_number_for_its_time() -> None:
    file = SpoiledFile.of(GivenFile(b'{"Id":"a","UpdatedUtc":"2026-01-01","N":1}\n'), "other_type")
    assert b"".join(file.read(0, file.size)) == b'{"Id":"a","UpdatedUtc":777777777777,"N":1}\n'
