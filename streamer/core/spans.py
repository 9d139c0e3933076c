"""Which spans a commit ends, for tracing: its own, that of a file, that of an export.

All of them follow from the checkpoint before and after. The export's id is the trace's: a UUID has as many bits as
a trace id, so that spans of one export belong together though several processes, days apart, have worked on it.
"""

from __future__ import annotations

import uuid
from datetime import datetime

import msgspec
from xxhash import xxh3_64_intdigest

from streamer.core.checkpoint import Checkpoint, Completed
from streamer.core.states import Counts, Publishing, Reconciling, Stopped, Waiting
from streamer.model import ExportId, StreamKey

Attributes = dict[str, str | int]

FILE = "publish file"
"""The name of the spans of files."""


class Span(msgspec.Struct, frozen=True):
    """A span that is over. ``is_export`` marks the root of the others; ``error`` is empty on success."""

    name: str
    export_id: ExportId
    begun: datetime
    ended: datetime
    attributes: Attributes
    is_export: bool = False
    error: str = ""


def trace_id(export_id: ExportId) -> int:
    """128 bits, the same for an export in every process."""
    try:
        return uuid.UUID(export_id).int or 1
    except ValueError:
        return xxh3_64_intdigest(export_id.encode()) << 64 | root_id(export_id)


def root_id(export_id: ExportId) -> int:
    """64 bits: the id of the export's own span."""
    return xxh3_64_intdigest(export_id.encode()) or 1


def spans_of(
    stream: StreamKey,
    before: Checkpoint,
    after: Checkpoint,
    counts: Counts,
    *,
    topic: str | None,
    begun: datetime,
    ended: datetime,
    file_begun: datetime,
) -> list[Span]:
    """What a commit from ``before`` to ``after`` ends; nothing where no export has an id.

    ``begun`` and ``ended`` are of the commit, ``file_begun`` of the reading of its file, in this process.
    """
    export_id = _export_of(before) or _export_of(after)
    if export_id is None:
        return []
    about: Attributes = {
        "mews.connection": str(stream.connection),
        "mews.entity_type": stream.entity_type.value,
        "mews.export.id": export_id,
    }
    found = []
    done = _completed(before, after, export_id)
    if topic is not None:
        kafka: Attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.operation.name": "commit",
            "messaging.destination.name": topic,
            "messaging.batch.message_count": counts.records + counts.tombstones,
        }
        found.append(Span(f"commit {topic}", export_id, begun, ended, {**about, **kafka}))
    if (file := _file_over(before, after, done)) is not None:
        size = before.state.position.size if isinstance(before.state, Publishing) else 0
        attributes = {**about, "mews.file.index": file, "mews.file.size": size}
        found.append(Span(FILE, export_id, file_begun, ended, attributes))
    requested_at = _requested_at(before)
    if requested_at is not None and (done is not None or _export_of(after) != export_id):
        error = "" if done else (after.error.message if after.error else "the export came to nothing")
        totals: Attributes = {}
        if done:
            totals = {"mews.export.records": done.counts.records, "mews.export.bytes": done.counts.size}
        name = f"export {stream.entity_type.value}"
        found.append(Span(name, export_id, requested_at, ended, {**about, **totals}, is_export=True, error=error))
    return found


def _state(checkpoint: Checkpoint) -> object:
    state = checkpoint.state
    return state.before if isinstance(state, Stopped) else state


def _export_of(checkpoint: Checkpoint) -> ExportId | None:
    state = _state(checkpoint)
    return state.export_id if isinstance(state, Waiting | Publishing | Reconciling) else None


def _requested_at(checkpoint: Checkpoint) -> datetime | None:
    state = _state(checkpoint)
    return state.request.requested_at if isinstance(state, Waiting | Publishing | Reconciling) else None


def _completed(before: Checkpoint, after: Checkpoint, export_id: ExportId) -> Completed | None:
    for was, now in ((before.snapshot, after.snapshot), (before.window, after.window)):
        if now is not None and now != was and now.export_id == export_id:
            return now
    return None


def _file_over(before: Checkpoint, after: Checkpoint, done: Completed | None) -> int | None:
    """The index of the file whose last line is published with this commit."""
    if not isinstance(before.state, Publishing) or before.state.position.file >= before.state.files.count:
        return None
    at = before.state.position.file
    moved_on = isinstance(after.state, Publishing) and after.state.position.file > at
    return at if moved_on or done is not None or isinstance(after.state, Reconciling) else None
