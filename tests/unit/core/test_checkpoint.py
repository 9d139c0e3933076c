"""A checkpoint reads back as it was written, keeps what a newer version wrote, and is refused where that does harm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from streamer.core.checkpoint import (
    VERSION,
    Checkpoint,
    CheckpointError,
    Completed,
    Erased,
    decode_checkpoint,
    encode_checkpoint,
)
from streamer.core.states import (
    Counts,
    FileList,
    Idle,
    PartitionCounts,
    Publishing,
    Request,
    Requesting,
    State,
    Stopped,
    Waiting,
)
from streamer.model import ExportId, ExportKind
from tests.unit.cases import cases

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
REQUEST = Request(cycle=3, kind=ExportKind.SNAPSHOT, requested_at=NOW)
STATES: tuple[State, ...] = (
    Idle(),
    Requesting(request=REQUEST),
    Waiting(request=REQUEST, export_id=ExportId("e1")),
    Publishing(request=REQUEST, export_id=ExportId("e1"), ready_at=NOW, files=FileList(0, 0, "d")),
    Stopped(reason="no", since=NOW, look_at=NOW, before=Idle()),
)


@cases("state", STATES)
def test_the_phase_is_written_as_one_word_in_the_state(state: State) -> None:
    written = written_as(Checkpoint(state=state))
    assert written["state"]["phase"] == Checkpoint(state=state).phase == type(state).__name__.lower()
    assert written["v"] == 1
    kept_out = {"h": Erased(datetime(2026, 3, 1, tzinfo=UTC), "k")}
    assert written_as(Checkpoint(state=state, erased=kept_out))["v"] == VERSION, "older ones would publish them"
    assert not {"unknown", "unknown_state"} & set(written)


def test_a_move_within_the_phase_keeps_the_newer_fields_of_the_state() -> None:
    read = read_with_newer_fields(STATES[1])
    assert isinstance(read.state, Requesting)
    moved = written_as(read.moved_to(msgspec.structs.replace(read.state, attempt=2)))
    assert moved["state"]["newer"] == [1]
    assert moved["newer"] == {"a": 1}


@cases("phase", STATES[1:])
def test_a_new_phase_drops_the_newer_fields_of_the_last_and_keeps_those_beside_it(phase: State) -> None:
    moved = written_as(read_with_newer_fields(Idle()).moved_to(phase))
    assert "newer" not in moved["state"]
    assert moved["newer"] == {"a": 1}


def test_a_field_that_this_version_knows_is_never_shadowed_by_a_kept_one() -> None:
    read = Checkpoint(state=STATES[2], term=5, unknown={"term": 1}, unknown_state={"export_id": "old"})
    written = written_as(read)
    assert written["term"] == 5
    assert written["state"]["export_id"] == "e1"


def test_fields_that_are_missing_have_their_defaults() -> None:
    assert decode_checkpoint(b'{"v": 1}') == Checkpoint()


def test_a_checkpoint_from_before_windows_and_signals_reads_back_with_the_defaults_of_what_came_with_them() -> None:
    request = {"cycle": 3, "kind": "snapshot", "requested_at": NOW}
    completed = {"export_id": "e0", "requested_at": NOW, "completed_at": NOW, "counts": {}}
    old = {"v": 1, "state": {"phase": "requesting", "request": request}, "snapshot": completed}
    read = decode_checkpoint(msgspec.json.encode(old))
    assert read.state == Requesting(request=REQUEST)
    assert (REQUEST.changes_only, REQUEST.scope) == (True, "")
    assert read.snapshot == Completed(ExportId("e0"), NOW, NOW, Counts(), scope="", tombstones_withheld=0)
    assert (read.paused, read.next_signal, read.let_tombstones_through) == (False, 0, False)


@pytest.mark.parametrize("version", [VERSION + 1, VERSION + 100])
def test_a_higher_version_is_refused_whatever_else_it_says(version: int) -> None:
    with pytest.raises(CheckpointError, match=f"version {version}.*up to {VERSION}"):
        decode_checkpoint(msgspec.json.encode({"v": version, "state": {"phase": "dreaming"}}))


@cases(
    "value",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b"{}",
        b'{"v": null}',
        b'{"v": "1"}',
        b'{"v": 1.5}',
        b'{"v": true}',
        b'{"v": 1, "state": {"phase": "dreaming"}}',
        b'{"v": 1, "state": {"phase": "waiting"}}',
        b'{"v": 1, "state": {}}',
        b'{"v": 1, "state": null}',
        b'{"v": 1, "term": "many"}',
        b'{"v": 1, "owner": "\xff"}',
        b'{"v": 1, "owner": "\\ud800"}',
        b'{"v": 1, "newer": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_checkpoint_is_refused(value: bytes) -> None:
    with pytest.raises(CheckpointError):
        decode_checkpoint(value)


def test_a_moment_of_any_time_zone_reads_back_as_the_same_moment() -> None:
    prague = NOW.astimezone(timezone(timedelta(hours=1)))
    read = decode_checkpoint(encode_checkpoint(Checkpoint(state=Idle(not_before=prague))))
    assert read.state == Idle(not_before=NOW)


def test_partition_counts_of_a_later_block_widen_the_span_and_wrap_the_digest() -> None:
    earlier = PartitionCounts(records=2, tombstones=0, start=10, end=12, digest="ffffffffffffffff")
    later = PartitionCounts(records=3, tombstones=1, start=13, end=17, digest="0000000000000003")
    assert earlier + later == PartitionCounts(records=5, tombstones=1, start=10, end=17, digest="0000000000000002")


def written_as(checkpoint: Checkpoint) -> dict[str, Any]:
    return msgspec.json.decode(encode_checkpoint(checkpoint), type=dict[str, Any])


def read_with_newer_fields(state: State) -> Checkpoint:
    written = written_as(Checkpoint(state=state))
    newer = {**written, "newer": {"a": 1}, "state": {**written["state"], "newer": [1]}}
    return decode_checkpoint(msgspec.json.encode(newer))
