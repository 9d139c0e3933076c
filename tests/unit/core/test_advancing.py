"""What blocks of records and of tombstones add to their export, up to the last one."""

from __future__ import annotations

import msgspec

from streamer.core.checkpoint import Completed
from streamer.core.inputs import Entombed
from streamer.core.states import Counts, FileList, PartitionCounts, Position, Publishing, Reconciling, Share
from tests.unit.core.lives import (
    E1,
    FILE_ENDED,
    IDLE,
    INPUTS,
    LAST,
    NOW,
    PUBLISHED,
    PUBLISHING,
    RECONCILING,
    REQUEST,
    REQUESTED,
    SECOND,
    after,
    checkpoint_of,
    told,
)


def test_a_block_moves_the_position_and_adds_to_the_counts() -> None:
    checkpoint, events = after(PUBLISHING, PUBLISHED)
    assert checkpoint.state == msgspec.structs.replace(
        PUBLISHING,
        position=PUBLISHED.position,
        counts=Counts(size=60, lines=9, records=4, dead_letters=2, blank=3),
        partitions={
            "1": PartitionCounts(records=3, tombstones=0, start=7, end=11, digest="0000000000000101"),
            "11": PartitionCounts(records=1, tombstones=0, start=0, end=1, digest="0000000000000004"),
        },
    )
    assert checkpoint.error is None
    assert checkpoint.failures == 2
    assert not events


def test_the_number_of_partitions_is_that_of_the_first_block_for_ever() -> None:
    assert after(PUBLISHING, PUBLISHED)[0].partitions == 12
    assert after(PUBLISHING, PUBLISHED, partitions=6)[0].partitions == 6
    assert after(PUBLISHING, LAST)[0].partitions == 12


def test_the_last_line_of_a_file_is_told_with_the_file_that_ended() -> None:
    _, events = after(PUBLISHING, FILE_ENDED)
    assert events == [told("file_published", file=0, name="a.jsonl", bytes=60)]


def test_with_the_last_block_the_export_is_completed_and_everything_accounted_for() -> None:
    in_last_file = msgspec.structs.replace(PUBLISHING, position=SECOND)
    checkpoint, events = after(in_last_file, LAST)
    counts = Counts(size=60, lines=9, records=4, dead_letters=2, blank=3)
    done = Completed(export_id=E1, requested_at=REQUESTED, completed_at=NOW, counts=counts)
    assert checkpoint == checkpoint_of(
        IDLE, failures=0, error=None, partitions=12, ends={"1": 11, "11": 1}, snapshot=done, covered_to=REQUESTED
    )
    assert events == [
        told("file_published", file=1, name="b.jsonl", bytes=40),
        told(
            "export_completed",
            topic="mews.bill",
            files=2,
            bytes=60,
            lines=9,
            records=4,
            unchanged=0,
            dead_letters=2,
            blank=3,
            erased=0,
            tombstones=0,
            tombstones_withheld=0,
            tombstones_withheld_why="",
            requested_at="2026-03-01T12:00:00Z",
            ready_at="2026-03-01T12:00:00Z",
            seconds=5400.0,
            partitions={
                "1": {"records": 3, "tombstones": 0, "start": 7, "end": 11, "digest": "0000000000000101"},
                "11": {"records": 1, "tombstones": 0, "start": 0, "end": 1, "digest": "0000000000000004"},
            },
        ),
    ]


def test_an_export_without_files_completes_with_no_partitions_and_no_file() -> None:
    empty = Publishing(request=REQUEST, export_id=E1, ready_at=REQUESTED, files=FileList(0, 0, "d"))
    last = msgspec.structs.replace(LAST, position=Position(), counts=Counts(), partitions={})
    checkpoint, events = after(empty, last)
    assert checkpoint.state == IDLE
    assert [body["event"] for body in events] == ["export_completed"]
    assert events[0]["partitions"] == {}
    assert [events[0][name] for name in ("files", "lines", "records", "bytes")] == [0, 0, 0, 0]


def test_tombstones_that_are_due_follow_the_last_line_and_the_last_of_them_completes_the_export() -> None:
    in_last_file = msgspec.structs.replace(PUBLISHING, position=SECOND, share=Share(end=12))
    due = msgspec.structs.replace(LAST, share=Share(end=12), due=3)
    checkpoint, events = after(in_last_file, due)
    assert isinstance(checkpoint.state, Reconciling)
    assert (checkpoint.state.due, checkpoint.state.counts.records, checkpoint.partitions) == (3, 4, 12)
    assert [body["event"] for body in events] == ["file_published"]

    some = msgspec.structs.replace(INPUTS["entombed"], last=True)
    checkpoint, events = after(RECONCILING, some, let_tombstones_through=True)
    assert (checkpoint.state, checkpoint.let_tombstones_through) == (IDLE, False)
    assert checkpoint.snapshot is not None
    assert checkpoint.snapshot.counts.tombstones == 3
    (completed,) = events
    assert (completed["tombstones"], completed["tombstones_withheld"]) == (3, 0)
    assert completed["partitions"] == {
        "1": {"records": 1, "tombstones": 3, "start": 7, "end": 14, "digest": "00000000000000ff"}
    }


def test_tombstones_that_can_not_follow_any_more_are_told_as_withheld() -> None:
    nothing = Entombed(counts=Counts(), partitions={}, last=True, withheld_why="files_gone")
    checkpoint, (completed,) = after(RECONCILING, nothing)
    assert (completed["tombstones"], completed["tombstones_withheld"]) == (1, 4)
    assert completed["tombstones_withheld_why"] == "files_gone"
    assert checkpoint.snapshot is not None
    assert (checkpoint.snapshot.tombstones_withheld, checkpoint.snapshot.withheld_why) == (4, "files_gone")
