"""What a block in the transaction adds to its export: the position, the counts, and with the last one its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from streamer.core.checkpoint import Checkpoint
from streamer.core.ending import after_completion, after_loss_of_topic
from streamer.core.erasing import with_sent
from streamer.core.events import Event, Outcome, Writer
from streamer.core.inputs import Entombed, Published
from streamer.core.states import PartitionCounts, Publishing, Reconciling
from streamer.model import StreamKey


def after_records(
    stream: StreamKey, checkpoint: Checkpoint, state: Publishing, event: Published, *, now: datetime
) -> Outcome:
    """A block more of the export; with its last one, the end of it."""
    lost = [number for number, counts in event.partitions.items() if counts.start < checkpoint.ends.get(str(number), 0)]
    if lost:
        return after_loss_of_topic(stream, checkpoint, state, event.topic, min(lost), now=now)
    done = msgspec.structs.replace(
        state,
        position=event.position,
        counts=state.counts + event.counts,
        partitions=plus(state.partitions, event.partitions),
        share=event.share,
    )
    events: tuple[Event, ...] = ()
    if event.file_ended and state.files.count:
        at = state.position
        writer = Writer(stream, state.request, state.export_id, now)
        events = (writer.file_published(file=at.file, name=at.name, size=at.size),)
    known_partitions = checkpoint.partitions or event.topic_partitions
    erased = with_sent(checkpoint.erased, event.erased, state.request.cycle)
    moved = checkpoint.moved_to(
        done, erased=erased, partitions=known_partitions, ends=ends_with(checkpoint, event.partitions), error=None
    )
    if not event.last:
        return Outcome(moved, events)
    if event.due:
        reconciling = Reconciling(
            request=done.request,
            export_id=done.export_id,
            ready_at=done.ready_at,
            files=done.files,
            counts=done.counts,
            partitions=done.partitions,
            topic=event.topic,
            due=event.due,
        )
        return Outcome(moved.moved_to(reconciling), events)
    completed = after_completion(
        stream, moved, done, topic=event.topic, withheld=event.withheld, why=event.withheld_why, now=now
    )
    return msgspec.structs.replace(completed, events=(*events, *completed.events))


def after_tombstones(
    stream: StreamKey, checkpoint: Checkpoint, state: Reconciling, event: Entombed, *, now: datetime
) -> Outcome:
    """A block more of its tombstones; with the last one, the end of the export."""
    done = msgspec.structs.replace(
        state, counts=state.counts + event.counts, partitions=plus(state.partitions, event.partitions)
    )
    checkpoint = checkpoint.moved_to(done, ends=ends_with(checkpoint, event.partitions), error=None)
    if not event.last:
        return Outcome(checkpoint)
    # One that is found nowhere any more has no record that could be taken for an entity's.
    withheld = done.due - done.counts.tombstones if event.withheld_why else 0
    return after_completion(
        stream, checkpoint, done, topic=state.topic, withheld=withheld, why=event.withheld_why, now=now
    )


def plus(earlier: Mapping[str, PartitionCounts], block: Mapping[int, PartitionCounts]) -> dict[str, PartitionCounts]:
    """The counts of an export's partitions with those of a block more."""
    added = {str(partition): counts for partition, counts in block.items()}
    return {
        **earlier,
        **{name: earlier[name] + counts if name in earlier else counts for name, counts in added.items()},
    }


def ends_with(checkpoint: Checkpoint, block: Mapping[int, PartitionCounts]) -> dict[str, int]:
    """Where the partitions end that the stream has published to, with a block more."""
    return {**checkpoint.ends, **{str(partition): counts.end for partition, counts in block.items()}}
