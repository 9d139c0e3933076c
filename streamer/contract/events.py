"""What ``mews.exports`` tells: the events as consumers may read them.

``core.events`` writes them; a test holds every event that it can write to these structs. They are as open as the
entities: fields may be added at any time, those named here stay.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from streamer.model import EntityType, ExportKind, Window

Count = Annotated[int, Meta(ge=0)]
At = Annotated[datetime, Meta(tz=True)]


class PartitionOfExport(msgspec.Struct, frozen=True, kw_only=True):
    """An export's records in one partition: how many, and that they lie in ``[start, end)``.

    ``digest`` is the sum modulo 2**64, in hexadecimal, of xxh3-64 over key, a zero byte and value.
    """

    records: Count
    tombstones: Count
    start: Count
    end: Count
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]


class ExportEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What every event says. ``export_id`` is null while Mews has given none; ``at`` is when it was written.

    Of a signal's answer, which is about no export, ``export_id``, ``kind`` and ``window`` are null.
    """

    connection: str
    entity_type: EntityType
    export_id: str | None
    kind: ExportKind | None
    window: Window | None
    at: At


class ExportRequested(ExportEvent, frozen=True, kw_only=True, tag="export_requested"):
    """Mews has accepted the request."""


class ExportBlocked(ExportEvent, frozen=True, kw_only=True, tag="export_blocked"):
    """Mews refused the request, most likely because an export of this type is running; it is tried again."""

    reason: str


class ExportReady(ExportEvent, frozen=True, kw_only=True, tag="export_ready"):
    """Mews has finished the export; ``bytes`` are those of all its files."""

    files: Count
    bytes: Count


class FilePublished(ExportEvent, frozen=True, kw_only=True, tag="file_published"):
    """The last line of a file, counted from 0, is published with this event."""

    file: Count
    name: str
    bytes: Count


class ExportCompleted(ExportEvent, frozen=True, kw_only=True, tag="export_completed"):
    """Every line of the export is accounted for: ``lines = records + unchanged + dead_letters + blank + erased``.

    The export is wholly read by whoever is at or past ``end`` in each of the ``partitions``, which are keyed by number.
    """

    topic: str
    files: Count
    bytes: Count
    lines: Count
    records: Count
    unchanged: Count
    dead_letters: Count
    blank: Count
    erased: Count = 0
    tombstones: Count
    tombstones_withheld: Count = 0
    tombstones_withheld_why: str = ""
    requested_at: At
    ready_at: At
    seconds: float
    partitions: dict[Annotated[str, Meta(pattern="^[0-9]+$")], PartitionOfExport]


class ExportFailed(ExportEvent, frozen=True, kw_only=True, tag="export_failed"):
    """The export will never be completed; what it published so far stays, and the next one repeats it."""

    reason: str


class ExportExpired(ExportEvent, frozen=True, kw_only=True, tag="export_expired"):
    """Mews put the export's files away before they were all published; the next one repeats what was."""


class ReplayedLine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the record of a dead letter is that was replayed; ``ce_id`` is that of both."""

    ce_id: str
    topic: str
    partition: Count
    offset: Count


class SignalApplied(ExportEvent, frozen=True, kw_only=True, tag="signal_applied"):
    """What a signal asked for holds from this event on; ``offset`` and ``key`` are those of its record."""

    signal: str
    offset: Count
    key: str
    replayed: ReplayedLine | None = None


class SignalRejected(ExportEvent, frozen=True, kw_only=True, tag="signal_rejected"):
    """A signal made no sense, for ``reason``, and changed nothing; ``signal`` is null where it names none."""

    signal: str | None
    offset: Count
    key: str
    reason: str


class StreamRetired(ExportEvent, frozen=True, kw_only=True, tag="stream_retired"):
    """All entities that ``topic`` had of a stream have their tombstones, as the signal ``retire`` wanted."""

    topic: str
    tombstones: Count
    seconds: float
    partitions: dict[Annotated[str, Meta(pattern="^[0-9]+$")], PartitionOfExport]


EVENTS: tuple[type[ExportEvent], ...] = (
    ExportRequested,
    ExportBlocked,
    ExportReady,
    FilePublished,
    ExportCompleted,
    ExportFailed,
    ExportExpired,
    SignalApplied,
    SignalRejected,
    StreamRetired,
)


def name_of(event: type[ExportEvent]) -> str:
    """``export_completed`` and the like."""
    return str(event.__struct_config__.tag)


_COMMON = {
    "connection": "alpine-hotels",
    "entity_type": "Reservation",
    "export_id": "0f9c2a74-6d1e-4b53-9c1a-b35500a1d2e3",
    "kind": "snapshot",
    "window": None,
    "at": "2026-03-01T13:00:01.500000Z",
}
_OF_NO_EXPORT = {"export_id": None, "kind": None, "window": None}
_OWN: dict[type[ExportEvent], dict[str, Any]] = {
    ExportBlocked: {"export_id": None, "reason": "An export of this type is already being processed."},
    ExportReady: {"files": 2, "bytes": 45_120_000},
    FilePublished: {"file": 0, "name": "part-0.jsonl", "bytes": 30_000_000},
    ExportCompleted: {
        "topic": "mews.reservation",
        "files": 2,
        "bytes": 45_120_000,
        "lines": 32_000,
        "records": 31_997,
        "unchanged": 0,
        "dead_letters": 2,
        "blank": 1,
        "tombstones": 0,
        "requested_at": "2026-03-01T12:00:00Z",
        "ready_at": "2026-03-01T12:20:00Z",
        "seconds": 3601.5,
        "partitions": {
            "0": {"records": 31_997, "tombstones": 0, "start": 4100, "end": 36_102, "digest": "9f1c0a2b3d4e5f60"}
        },
    },
    SignalApplied: {**_OF_NO_EXPORT, "signal": "pause", "offset": 17, "key": "alpine-hotels/Reservation"},
    SignalRejected: {
        **_OF_NO_EXPORT,
        "signal": "retry",
        "offset": 18,
        "key": "*",
        "reason": "the stream is not stopped",
    },
    StreamRetired: {
        **_OF_NO_EXPORT,
        "topic": "mews.reservation",
        "tombstones": 31_997,
        "seconds": 12.5,
        "partitions": {
            "0": {"records": 0, "tombstones": 31_997, "start": 36_102, "end": 68_100, "digest": "1f3c0a2b3d4e5f60"}
        },
    },
    ExportFailed: {"reason": "the export's files are not those that publishing began with"},
}


def example_of(event: type[ExportEvent]) -> dict[str, Any]:
    """A made-up event of this kind."""
    return {"event": name_of(event), **_COMMON, **_OWN.get(event, {})}
