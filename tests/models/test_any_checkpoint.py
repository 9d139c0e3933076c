"""Any checkpoint reads back as it was written, also one of a newer version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.checkpoint import Checkpoint, Completed, LastError, decode_checkpoint, encode_checkpoint
from streamer.core.states import (
    Counts,
    FileList,
    Idle,
    PartitionCounts,
    Position,
    Publishing,
    Reconciling,
    Request,
    Requesting,
    Share,
    Stopped,
    Waiting,
)
from streamer.model import ExportId, ExportKind, Window

moments = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
numbers = st.integers(0, 2**53)
words = st.text(max_size=8)
ids = words.map(ExportId)
windows = st.builds(Window, moments, moments)
requests = st.builds(Request, numbers, st.sampled_from(ExportKind), moments, st.none() | windows, st.booleans(), words)
all_counts = st.builds(Counts, *[numbers] * 7)
positions = st.builds(Position, numbers, numbers, numbers, words, numbers, st.none() | words)
digests = st.integers(0, 2**64 - 1).map("{:016x}".format)
partitions = st.dictionaries(
    st.integers(0, 99).map(str), st.builds(PartitionCounts, *[numbers] * 4, digests), max_size=3
)
active = (
    st.builds(Idle, st.none() | moments)
    | st.builds(Requesting, requests, numbers, st.none() | moments)
    | st.builds(Waiting, requests, ids)
    | st.builds(
        Publishing,
        requests,
        ids,
        moments,
        st.builds(FileList, numbers, numbers, words),
        positions,
        all_counts,
        partitions,
        st.none() | st.builds(Share, numbers, st.none() | numbers, numbers, numbers, numbers),
    )
    | st.builds(
        Reconciling,
        requests,
        ids,
        moments,
        st.builds(FileList, numbers, numbers, words),
        all_counts,
        partitions,
        words,
        numbers,
    )
)
states = active | st.builds(Stopped, words, moments, moments, active)
completed = st.builds(Completed, ids, moments, moments, all_counts, st.none() | windows, words, numbers, words)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
newer_fields = st.dictionaries(words.map("newer_{}".format), anything, max_size=3)
checkpoints = st.builds(
    Checkpoint,
    term=numbers,
    owner=words,
    cycle=numbers,
    state=states,
    partitions=st.none() | numbers,
    ends=st.dictionaries(st.integers(0, 99).map(str), numbers, max_size=3),
    failures=numbers,
    snapshot=st.none() | completed,
    window=st.none() | completed,
    error=st.none() | st.builds(LastError, moments, words),
    paused=st.booleans(),
    next_signal=numbers,
    let_tombstones_through=st.booleans(),
    unknown=newer_fields,
    unknown_state=newer_fields,
)


@given(checkpoints)
def test_a_checkpoint_reads_back_as_it_was_written(checkpoint: Checkpoint) -> None:
    assert decode_checkpoint(encode_checkpoint(checkpoint)) == checkpoint


@given(st.builds(Checkpoint, state=active), newer_fields, newer_fields)
def test_fields_of_a_newer_version_are_kept_and_written_back(
    checkpoint: Checkpoint, top: dict[str, Any], state: dict[str, Any]
) -> None:
    written = msgspec.json.decode(encode_checkpoint(checkpoint))
    newer = {**written, **top, "state": {**written["state"], **state}}
    assert msgspec.json.decode(encode_checkpoint(decode_checkpoint(msgspec.json.encode(newer)))) == newer


@given(st.lists(all_counts, max_size=4))
def test_counts_add_up_field_by_field(counts: list[Counts]) -> None:
    total = sum(counts, Counts())
    for name in Counts.__struct_fields__:
        assert getattr(total, name) == sum(getattr(count, name) for count in counts)
