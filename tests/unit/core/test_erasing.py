"""Who was erased is known by a keyed hash, kept out of every block, and forgotten once Mews sends them no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamer.core.blocks import FileBlocks, FileToGather
from streamer.core.checkpoint import Checkpoint, Erased
from streamer.core.comparing import ComparedBlocks, Comparison
from streamer.core.differences import Table
from streamer.core.erasing import Erasure, KeptOut, still_sent, why_unknowable, with_sent
from streamer.core.record_format import EncodedHeaders
from streamer.core.states import Counts, Request
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, StreamKey
from streamer.service.preparing import KeepingOut
from tests.unit.cases import cases

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ERASURE = Erasure(b"a key of one's own")
GUEST = ERASURE.hash(b"c2")
ENTRY = Erased(NOW, ERASURE.mark)
ERASED = {GUEST: ENTRY}
DATA = b'{"Id":"c1"}\n{"Id":"c2","LastName":"x"}\n{"Id":"c2"}\n{"no":"id"}\n{"Id":"c3"}'


class Encoded:
    """Batches that keep what is put into them."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []

    def append(self, partition: int, key: bytes, value: bytes, headers: EncodedHeaders) -> None:
        self.keys.append(key)


@cases("compared", [False, True])
def test_the_lines_of_the_erased_are_counted_and_in_no_block(compared: bool) -> None:
    file = FileToGather(
        export_id=ExportId("e1"),
        stream=StreamKey(ConnectionName("alpine"), EntityType.CUSTOMER),
        index=0,
        partitions=1,
        max_line_bytes=1000,
        max_record_bytes=100_000,
        headers=False,
    )
    keeping_out = KeepingOut(ERASURE, ERASED, None)
    blocks: FileBlocks[Encoded] = FileBlocks(file, Encoded, preparation=keeping_out)
    if compared:
        comparison = Comparison(Table(), first=0, end=1)
        blocks = ComparedBlocks(file, Encoded, comparison=comparison, judge=comparison.judge, preparation=keeping_out)
    blocks.feed(DATA)
    blocks.finish()
    block = blocks.take()
    assert block.batches.keys == [b"c1", b"c3"]
    assert (block.lines, block.records, block.erased, len(block.dead_letters)) == (5, 2, 2, 1)
    assert block.erased_hashes == {GUEST}
    assert blocks.take().erased == 0


def test_a_hash_is_known_by_its_own_key_alone() -> None:
    assert ERASURE.kept_out(b'{"Id":"c2"}', ERASED) == KeptOut(GUEST)
    assert ERASURE.kept_out(b'{"Id":"c1"}', ERASED) is None
    assert ERASURE.kept_out(b"{", ERASED) is None
    other = Erasure(b"another key")
    assert other.kept_out(b'{"Id":"c2"}', ERASED) is None
    assert not why_unknowable(Checkpoint(), None)
    assert not why_unknowable(Checkpoint(erased=ERASED), ERASURE)
    assert why_unknowable(Checkpoint(erased=ERASED), other)
    assert why_unknowable(Checkpoint(erased=ERASED), None)


def test_a_dead_letter_of_the_erased_keeps_nothing_of_the_line() -> None:
    keeping_out = KeepingOut(ERASURE, ERASED, None)
    assert keeping_out.digest(b'{"Id":"c2"}') == ERASURE.hash(b'{"Id":"c2"}')
    assert keeping_out.digest(b'{"Id":"c1"}') == ""
    assert keeping_out.prepare(b'{"Id":"c1"}') == b'{"Id":"c1"}'


def request(cycle: int, *, kind: ExportKind = ExportKind.SNAPSHOT, hours: int = 1) -> Request:
    return Request(cycle=cycle, kind=kind, requested_at=NOW + timedelta(hours=hours))


def test_who_is_not_sent_any_more_is_forgotten_after_a_snapshot_that_was_asked_for_later() -> None:
    sent = with_sent(ERASED, {GUEST, "nobody"}, 7)
    assert sent == {GUEST: Erased(NOW, ERASURE.mark, cycle=7)}
    assert with_sent(ERASED, (), 7) == ERASED
    assert still_sent(sent, request(7), Counts()) == sent
    assert still_sent(sent, request(8), Counts()) == {}
    assert still_sent(ERASED, request(8, hours=-1), Counts()) == ERASED, "it looked before"
    assert still_sent(ERASED, request(8, kind=ExportKind.WINDOW), Counts()) == ERASED, "a window holds few"
    assert still_sent(ERASED, request(8), Counts(dead_letters=1)) == ERASED, "it may have been that line"
