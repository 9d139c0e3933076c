"""The events of ``mews.exports``: what consumers are told about an export, as JSON values.

Built from the lifecycle's states alone, so that an event says what the checkpoint beside it in the transaction says;
``Outcome`` is the two of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from streamer.core.checkpoint import Checkpoint
from streamer.core.states import PartitionCounts, Publishing, Reconciling, Request, Retiring
from streamer.model import ExportId, StreamKey


class Event(msgspec.Struct, frozen=True):
    """One event: its name, the ``ce_id`` that names it once and for all, and the body."""

    name: str
    ce_id: str
    body: dict[str, Any]

    def value(self) -> bytes:
        """The body as the JSON that is published."""
        return msgspec.json.encode(self.body)


class Outcome(msgspec.Struct, frozen=True):
    """What to commit: the checkpoint, and the events that go with it."""

    checkpoint: Checkpoint
    events: tuple[Event, ...] = ()


class ReplayedLine(msgspec.Struct, frozen=True):
    """Where the record of a replayed dead letter is; ``ce_id`` is that of both."""

    ce_id: str
    topic: str
    partition: int
    offset: int


class Writer(msgspec.Struct, frozen=True):
    """Makes the events of one request of one stream. ``export_id`` is None while Mews has given none."""

    stream: StreamKey
    request: Request
    export_id: ExportId | None
    now: datetime

    def export_requested(self) -> Event:
        """Mews has accepted the request."""
        return self._event("export_requested")

    def export_blocked(self, reason: str) -> Event:
        """Mews refused the request because, most likely, an export of this type is running."""
        return self._event("export_blocked", reason=reason)

    def export_ready(self, files: int, size: int) -> Event:
        """Mews has finished the export; ``size`` is the bytes of all its files."""
        return self._event("export_ready", files=files, bytes=size)

    def file_published(self, *, file: int, name: str, size: int) -> Event:
        """The last line of a file is published with this very transaction."""
        return self._event("file_published", part=str(file), file=file, name=name, bytes=size)

    def export_failed(self, reason: str) -> Event:
        """The export will never be completed; what it published so far stays."""
        return self._event("export_failed", reason=reason)

    def export_expired(self) -> Event:
        """Mews has put the export's files away before they were all published."""
        return self._event("export_expired")

    def export_completed(
        self, done: Publishing | Reconciling, *, topic: str, withheld: int = 0, withheld_why: str = ""
    ) -> Event:
        """Every line of the export is accounted for; its records lie between the offsets given per partition.

        ``withheld`` entities are gone, but have no tombstone.
        """
        counts = done.counts
        return self._event(
            "export_completed",
            topic=topic,
            files=done.files.count,
            bytes=counts.size,
            lines=counts.lines,
            records=counts.records,
            unchanged=counts.unchanged,
            dead_letters=counts.dead_letters,
            blank=counts.blank,
            erased=counts.erased,
            tombstones=counts.tombstones,
            tombstones_withheld=withheld,
            tombstones_withheld_why=withheld_why,
            requested_at=done.request.requested_at,
            ready_at=done.ready_at,
            seconds=round((self.now - done.request.requested_at).total_seconds(), 3),
            partitions=_by_number(done.partitions),
        )

    def _event(self, event: str, /, *, part: str | None = None, **fields: Any) -> Event:
        body = {
            "event": event,
            "connection": self.stream.connection,
            "entity_type": self.stream.entity_type,
            "export_id": self.export_id,
            "kind": self.request.kind,
            "window": self.request.window,
            "at": self.now,
            **fields,
        }
        subject = self.export_id or f"{self.stream}/{self.request.cycle}"
        return Event(name=event, ce_id="/".join(filter(None, (subject, event, part))), body=body)


def signal_event(
    stream: StreamKey,
    signal: str | None,
    *,
    offset: int,
    key: str,
    reason: str | None,
    replayed: ReplayedLine | None = None,
    now: datetime,
) -> Event:
    """The answer to a signal: ``signal_applied``, or ``signal_rejected`` with its ``reason``.

    ``signal`` is its name, None where it has none that is known; ``offset`` and ``key`` are those of its record. It is
    about no export, so what tells of one is null.
    """
    name = "signal_applied" if reason is None else "signal_rejected"
    more: dict[str, Any] = {} if reason is None else {"reason": reason}
    if replayed is not None:
        more["replayed"] = replayed
    return _of_a_signal(stream, name, offset, now, signal=signal, offset=offset, key=key, **more)


def retired_event(stream: StreamKey, done: Retiring, *, now: datetime) -> Event:
    """Every entity that the topic had of the stream has its tombstone, between the offsets given per partition."""
    return _of_a_signal(
        stream,
        "stream_retired",
        done.signal,
        now,
        topic=done.topic,
        tombstones=sum(counts.tombstones for counts in done.partitions.values()),
        seconds=round((now - done.begun_at).total_seconds(), 3),
        partitions=_by_number(done.partitions),
    )


def _of_a_signal(stream: StreamKey, event: str, signal: int, now: datetime, /, **fields: Any) -> Event:
    body = {
        "event": event,
        "connection": stream.connection,
        "entity_type": stream.entity_type,
        "export_id": None,
        "kind": None,
        "window": None,
        "at": now,
        **fields,
    }
    return Event(name=event, ce_id=f"{stream}/signals/{signal}/{event}", body=body)


def _by_number(partitions: Mapping[str, PartitionCounts]) -> dict[str, PartitionCounts]:
    return dict(sorted(partitions.items(), key=lambda item: int(item[0])))
