"""What the demo knows of the daemon's work, from ``/api/streams`` and ``/metrics``: values and pure functions."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from streamer.model import PUBLIC_ENTITY_TYPES

_WINDOW_SECONDS = 3.0
"""A rate is taken over this time: blocks come every few tenths of a second, and the number should be calm."""

WORDS = {
    "idle": "idle",
    "requesting": "asking",
    "waiting": "waiting",
    "publishing": "publishing",
    "stopped": "stopped",
    "unreadable": "unreadable",
}
"""A stream's phase, for people."""


class StreamProgress(msgspec.Struct, frozen=True):
    """How far one stream is with its first export. Sizes in bytes; ``total`` is 0 until Mews has named the files."""

    entity_type: str
    phase: str = "idle"
    size: int = 0
    total: int = 0
    records: int = 0
    lines: int = 0
    dead_letters: int = 0
    file: int = 0
    files: int = 0
    export_id: str = ""
    done: bool = False
    error: str = ""

    @property
    def words(self) -> str:
        return "done" if self.done else WORDS.get(self.phase, self.phase)


NOTHING_YET = tuple(StreamProgress(t.value) for t in PUBLIC_ENTITY_TYPES)


def read_streams(rows: Sequence[Mapping[str, Any]], before: Sequence[StreamProgress]) -> tuple[StreamProgress, ...]:
    """The streams as the daemon tells them, in the order of ``before``.

    A daemon that has just started has not read the checkpoints yet: what it does not know stays as it was.
    """
    told = {str(row["entity_type"]): _read_stream(row) for row in rows}
    return tuple(_newer(stream, told.get(stream.entity_type, stream)) for stream in before)


def _read_stream(row: Mapping[str, Any]) -> StreamProgress:
    name, phase, error = str(row["entity_type"]), str(row["phase"]), str(row.get("error") or "")
    if completed := row.get("last_snapshot"):
        return StreamProgress(name, phase, total=completed["bytes"], done=True, error=error, **_counts(completed))
    export = row.get("export") or {}
    if "bytes" not in export:
        return StreamProgress(name, phase, error=error)
    return StreamProgress(
        name,
        phase,
        total=export["bytes_total"],
        file=export["file"],
        files=export["files"],
        error=error,
        **_counts(export),
    )


def _counts(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "size": told["bytes"],
        "records": told["records"],
        "lines": told["lines"],
        "dead_letters": told["dead_letters"],
        "export_id": told["export_id"],
    }


def _newer(before: StreamProgress, after: StreamProgress) -> StreamProgress:
    return before if (after.done, after.lines, after.total) < (before.done, before.lines, before.total) else after


def transactions(metrics: str) -> int:
    """The committed ones in a page of Prometheus metrics."""
    return int(
        sum(
            sample.value
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
            if sample.name == "streamer_transactions_total" and sample.labels.get("outcome") == "committed"
        )
    )


def is_mid_file(stream: StreamProgress, sizes: Sequence[int]) -> bool:
    """Whether the stream has published a part of a file, given the sizes of its files."""
    ends = {sum(sizes[:n]) for n in range(len(sizes) + 1)}
    return not stream.done and stream.size not in ends


def share(streams: Sequence[StreamProgress], total: int) -> float:
    """How much of all bytes is published, from 0 to 1."""
    return sum(stream.size for stream in streams) / total if total else 0.0


class Meter:
    """Records and bytes per second: of late while work goes on, and over all of it once it is done."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()
        self._first: tuple[float, int, int] | None = None
        self._last: tuple[float, int, int] | None = None

    def saw(self, now: float, *, records: int, size: int) -> None:
        """The running totals at some time; to be called in the order of time."""
        reading = (now, records, size)
        if self._last is None or (records, size) > self._last[1:]:
            # The time before anything came is no part of the work.
            if self._first is None and self._last is not None:
                self._first = self._seen[-1]
            self._last = reading
        self._seen.append(reading)
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def recent(self) -> tuple[float, float]:
        """Records and bytes per second in the last seconds."""
        return _rate(self._seen[0], self._seen[-1]) if self._seen else (0.0, 0.0)

    @property
    def overall(self) -> tuple[float, float]:
        """Records and bytes per second from the first to the last."""
        return _rate(self._first, self._last) if self._first and self._last else (0.0, 0.0)

    @property
    def seconds(self) -> float:
        """From the first record to the last."""
        return self._last[0] - self._first[0] if self._first and self._last else 0.0


def _rate(earlier: tuple[float, int, int], later: tuple[float, int, int]) -> tuple[float, float]:
    seconds = later[0] - earlier[0]
    if seconds <= 0:
        return 0.0, 0.0
    return (later[1] - earlier[1]) / seconds, (later[2] - earlier[2]) / seconds
