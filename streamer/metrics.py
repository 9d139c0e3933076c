"""What is counted and measured, declared in one place, with names that begin with ``streamer_``.

``Metrics`` belongs to the process, ``StreamMetrics`` to one stream. They live in a registry of their own, so
that a test or a second daemon in one process starts from nothing. What one stream does is told per stream; what
Kafka or the process does, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from streamer import __version__
from streamer.core.records import Reason
from streamer.model import StreamKey

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The ``Content-Type`` of what ``Metrics.parts`` make up."""

_STREAM = ("connection", "entity_type")
# A commit takes some tens of milliseconds; the last bound is the default transaction timeout.
_COMMIT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Up to exports.transaction_bytes, of which 16 MB is the default.
_BLOCK_BYTES = (1e4, 1e5, 5e5, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6)
# Fine up to what the loop should never be blocked for, 50 milliseconds.
_LATENESS_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        # When a counter began would double the page, and nobody asks.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        # Memory, processor time and open files, under the names that every dashboard knows.
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"streamer_{name}", text, (*_STREAM, *more), registry=registry)

        def gauge(name: str, text: str, *more: str) -> Gauge:
            return Gauge(f"streamer_{name}", text, (*_STREAM, *more), registry=registry)

        self.records = counter("records", "Records committed.")
        self.bytes = counter("bytes", "Bytes of lines committed, as downloaded and without headers.")
        self.lines = counter("lines", "Lines committed: records, and those that became none, for whatever reason.")
        self.unchanged = counter("unchanged", "Lines left out because the topic said the same already.")
        self.tombstones = counter("tombstones", "Tombstones committed, for entities that are gone.")
        self.transactions = counter(
            "transactions",
            "Blocks with their checkpoint, each a transaction if there are any, by outcome: committed, aborted.",
            "outcome",
        )
        self.exports = counter("exports", "Exports ended, by outcome: completed, failed, expired.", "outcome")
        self.retries = counter("retries", "Steps tried again, by reason.", "reason")
        self.dead_letters = counter("dead_letters", "Lines that could not become a record, by reason.", "reason")
        self.drift = counter(
            "unexpected_shape_lines",
            "Lines in which a field is not as its schema says, by field and path; only with exports.validate.",
            "field",
            "path",
        )
        self.downloads_resumed = counter("downloads_resumed", "Downloads that went on in the middle of a file.")
        self.topics_lost = counter(
            "topics_lost", "Topics found made anew, and published to from the start: raise an alarm."
        )
        self.phase = gauge("phase", "1 for the phase that the stream is in, 0 for those it was in.", "phase")
        self.lag = gauge(
            "lag_seconds",
            "Age of what is published: now minus the end of the newest window, or the request of a later snapshot.",
        )
        self.blocked = gauge("blocked_seconds", "For how long another export has kept ours waiting; 0: it doesn't.")
        self.signals = counter("signals", "Signals answered, by outcome: applied, rejected.", "outcome")
        self.paused = gauge("stream_paused", "1 while a signal has paused the stream.")
        self.refused = gauge("windows_refused", "1 while Mews refuses filters, so that only snapshots are published.")
        self.tombstones_withheld = gauge(
            "tombstones_withheld", "Entities that the last snapshot found gone and left alone: raise an alarm."
        )
        self.stopped = gauge("stream_stopped", "1 while the stream waits for a person to look: raise an alarm.")

        self.commit_seconds = Histogram(
            "streamer_commit_seconds",
            "From the begin of a transaction (or of a block, without any) to the end of its commit.",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self.block_bytes = Histogram(
            "streamer_block_bytes",
            "Bytes of lines in a block; blocks without any, such as a mere change of phase, are left out.",
            buckets=_BLOCK_BYTES,
            registry=registry,
        )
        self.producer_restarts = Counter(
            "streamer_producer_restarts",
            "Producers replaced after a failure or by fencing.",
            registry=registry,
        )
        self.owned_shards = Gauge(
            "streamer_owned_shards",
            "Shards that the group has given to this replica, also those without streams.",
            registry=registry,
        )
        self.ready = Gauge(
            "streamer_ready", "1 while this replica takes part in the group, as on /readyz.", registry=registry
        )
        self.build = Gauge("streamer_build_info", "1, with the version as label.", ("version",), registry=registry)
        self.build.labels(__version__).set(1)
        self.loop_delay = Gauge(
            "streamer_loop_delay_seconds",
            "How late the event loop ran what was due, at worst in the last 10 to 20 seconds.",
            registry=registry,
        )
        self.loop_lateness = Histogram(
            "streamer_loop_lateness_seconds",
            "How late the event loop ran what was due, every 10 milliseconds.",
            buckets=_LATENESS_SECONDS,
            registry=registry,
        )
        self._streams: dict[StreamKey, StreamMetrics] = {}

    def stream(self, key: StreamKey) -> StreamMetrics:
        """The metrics of one stream, always the same object."""
        found = self._streams.get(key)
        if found is None:
            found = self._streams[key] = StreamMetrics(self, key)
        return found

    def parts(self) -> Iterator[bytes]:
        """The page for Prometheus in parts of some milliseconds: for 200 streams, all of it is a tenth of a second."""
        for family in self.registry.collect():
            yield generate_latest(_Only(family))


class _Only(Collector):
    """A single family of metrics."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


class StreamMetrics:
    """What one stream does. Labels are resolved once, as a record's worth of time matters here."""

    def __init__(self, metrics: Metrics, key: StreamKey) -> None:
        self._metrics = metrics
        self._labels = (str(key.connection), key.entity_type.value)
        self._phase: str | None = None
        self._records = metrics.records.labels(*self._labels)
        self._bytes = metrics.bytes.labels(*self._labels)
        self._lines = metrics.lines.labels(*self._labels)
        self._unchanged = metrics.unchanged.labels(*self._labels)
        self._tombstones = metrics.tombstones.labels(*self._labels)
        self._committed = metrics.transactions.labels(*self._labels, "committed")
        self._aborted = metrics.transactions.labels(*self._labels, "aborted")
        self._resumed = metrics.downloads_resumed.labels(*self._labels)
        # Counters that alarms watch are there from the start: one that is born at 1 has never increased.
        metrics.topics_lost.labels(*self._labels)
        for outcome in ("completed", "failed", "expired"):
            metrics.exports.labels(*self._labels, outcome)
        for reason in Reason:
            metrics.dead_letters.labels(*self._labels, reason.value)

    def committed(
        self, *, records: int, lines: int, size: int, seconds: float, unchanged: int = 0, tombstones: int = 0
    ) -> None:
        """A transaction is committed; ``size`` in bytes of lines."""
        self._committed.inc()
        self._records.inc(records)
        self._lines.inc(lines)
        self._unchanged.inc(unchanged)
        self._tombstones.inc(tombstones)
        self._bytes.inc(size)
        self._metrics.commit_seconds.observe(seconds)
        if size:
            self._metrics.block_bytes.observe(size)

    def aborted(self) -> None:
        """A transaction came to nothing, or nobody knows what it came to."""
        self._aborted.inc()

    def export_ended(self, outcome: str) -> None:
        """``completed``, ``failed`` or ``expired``."""
        self._metrics.exports.labels(*self._labels, outcome).inc()

    def topic_lost(self) -> None:
        """What was published before is gone with its topic."""
        self._metrics.topics_lost.labels(*self._labels).inc()

    def retried(self, reason: str) -> None:
        """A step is to be tried again; the reason is one of a few words, never a message."""
        self._metrics.retries.labels(*self._labels, reason).inc()

    def dead_letter(self, reason: str, count: int = 1) -> None:
        """Lines are set aside; the reason is one of a few words, never a message."""
        self._metrics.dead_letters.labels(*self._labels, reason).inc(count)

    def drifted(self, field: str, path: str) -> None:
        """A line is not as its schema says; field and path are names of the schema, never of the line."""
        self._metrics.drift.labels(*self._labels, field, path).inc()

    def download_resumed(self) -> None:
        """A download goes on in the middle of its file."""
        self._resumed.inc()

    def entered(self, phase: str) -> None:
        """The stream is in this phase now, and in no other."""
        if self._phase is not None:
            self._metrics.phase.labels(*self._labels, self._phase).set(0)
        self._metrics.phase.labels(*self._labels, phase).set(1)
        self._phase = phase

    def lags(self, by: timedelta) -> None:
        """How old what is published is."""
        self._metrics.lag.labels(*self._labels).set(by.total_seconds())

    def blocked(self, since: timedelta) -> None:
        """For how long somebody else's export has kept ours waiting; nothing once it no longer does."""
        self._metrics.blocked.labels(*self._labels).set(since.total_seconds())

    def withheld(self, tombstones: int) -> None:
        """How many entities the last snapshot found gone and left alone."""
        self._metrics.tombstones_withheld.labels(*self._labels).set(tombstones)

    def stopped(self, stopped: bool) -> None:
        """Whether a person must look."""
        self._metrics.stopped.labels(*self._labels).set(stopped)

    def paused(self, paused: bool) -> None:
        """Whether a signal has paused the stream."""
        self._metrics.paused.labels(*self._labels).set(paused)

    def refused(self, refused: bool) -> None:
        """Whether Mews refuses filters, so that there are no windows."""
        self._metrics.refused.labels(*self._labels).set(refused)

    def signalled(self, *, applied: bool) -> None:
        """A signal is answered."""
        self._metrics.signals.labels(*self._labels, "applied" if applied else "rejected").inc()

    def left(self) -> None:
        """Another replica has the stream now: this one says nothing of its state any more. Counters stay."""
        self._metrics.phase.remove_by_labels({"connection": self._labels[0], "entity_type": self._labels[1]})
        self._phase = None
        metrics = self._metrics
        states = (metrics.blocked, metrics.stopped, metrics.paused, metrics.refused, metrics.tombstones_withheld)
        for gauge in (metrics.lag, *states):
            gauge.remove_by_labels({"connection": self._labels[0], "entity_type": self._labels[1]})
