"""How fast a stream publishes, from what its checkpoints say now and then: for a curve, a rate and the time left."""

from __future__ import annotations

from collections import deque

BUCKET_SECONDS = 5.0
BUCKETS = 60
"""Five minutes of curve: a glance tells whether it goes on, stalls or has just begun."""

_BUCKETS_OF_A_RATE = 3


class Throughput:
    """Bytes per bucket of time of one stream. Moments are in seconds from anywhere, never going back."""

    def __init__(self, now: float) -> None:
        self._begun = now
        self._bucket = int(now / BUCKET_SECONDS)
        self._bytes: deque[int] = deque([0] * (BUCKETS + 1), maxlen=BUCKETS + 1)
        self._export_id: str | None = None
        self._size = 0

    def take(self, now: float, export_id: str | None, size: int, *, first: bool = False) -> None:
        """The stream has published so many bytes of this export. With ``first`` nobody knows since when."""
        self._turn(now)
        before = self._size if export_id == self._export_id else 0
        if export_id is not None:
            if not first:
                self._bytes[-1] += max(0, size - before)
            self._export_id, self._size = export_id, size

    def curve(self, now: float) -> list[int]:
        """Bytes per second in each bucket that is over, the oldest first."""
        self._turn(now)
        return [round(size / BUCKET_SECONDS) for size in list(self._bytes)[:-1]]

    def rate(self, now: float) -> float:
        """Bytes per second over the last ten to fifteen seconds, or since the beginning."""
        self._turn(now)
        recent = list(self._bytes)[-_BUCKETS_OF_A_RATE:]
        since = (self._bucket - _BUCKETS_OF_A_RATE + 1) * BUCKET_SECONDS
        return sum(recent) / max(1.0, now - max(since, self._begun))

    def _turn(self, now: float) -> None:
        bucket = int(now / BUCKET_SECONDS)
        for _ in range(min(bucket - self._bucket, BUCKETS + 1)):
            self._bytes.append(0)
        self._bucket = max(bucket, self._bucket)
