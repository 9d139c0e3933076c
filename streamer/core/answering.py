"""What is committed with a record that a signal has wanted: its answer, and what the checkpoint says after it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from streamer.core.checkpoint import Checkpoint, Erased
from streamer.core.events import Outcome, ReplayedLine
from streamer.core.heeding import answered
from streamer.core.signals import SignalRecord
from streamer.model import StreamKey


class Place(msgspec.Struct, frozen=True):
    """Where the record is, in a topic whose keys are shared out among so many partitions."""

    partition: int
    offset: int
    partitions: int


def after_replay(
    stream: StreamKey, checkpoint: Checkpoint, record: SignalRecord, place: Place, line: ReplayedLine, *, now: datetime
) -> Outcome:
    """A dead letter has become a record: the answer tells where it is."""
    return answered(stream, record, Outcome(_written(checkpoint, place)), None, replayed=line, now=now)


def after_erasure(
    stream: StreamKey,
    checkpoint: Checkpoint,
    record: SignalRecord,
    place: Place,
    erased: Mapping[str, Erased],
    *,
    now: datetime,
) -> Outcome:
    """An entity has its tombstone, and is kept out from now on; the answer names nobody."""
    kept = msgspec.structs.replace(_written(checkpoint, place), erased={**checkpoint.erased, **erased})
    return answered(stream, record, Outcome(kept), None, now=now)


def _written(checkpoint: Checkpoint, place: Place) -> Checkpoint:
    partition = str(place.partition)
    # Never less: an offset below it tells the next export that the topic was made anew.
    ends = {**checkpoint.ends, partition: max(checkpoint.ends.get(partition, 0), place.offset + 1)}
    return msgspec.structs.replace(checkpoint, ends=ends, partitions=place.partitions)
