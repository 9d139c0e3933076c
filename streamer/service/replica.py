"""One replica: takes part in the group, works on the shards that it is given, and leaves without harm.

``run`` is the supervisor. Its tasks run for ever, and one that fails is a defect that ends the process, so that
Kubernetes starts a fresh one. What the outside world does (Kafka away, Mews away, shards moved) ends none of them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import structlog

from streamer.config import Config
from streamer.core.backoff import BackoffPolicy, delay
from streamer.core.differences import Budget
from streamer.core.partitioner import check_partitioner
from streamer.core.schedule import blocked_since, freshness
from streamer.errors import FatalError, KafkaUnavailableError, NotOwnerError
from streamer.kafka.checkpoints import CheckpointReader
from streamer.kafka.connection import tolerate_leftovers
from streamer.kafka.ownership import Ownership
from streamer.kafka.signals import SignalReader, Signals
from streamer.kafka.topics import Topic, prepare_topics
from streamer.metrics import Metrics
from streamer.model import Shard, StreamKey
from streamer.service.allocator import keep_large_buffers
from streamer.service.assigned import AssignedShards
from streamer.service.clock import Clock
from streamer.service.collector import leave_aside_what_lasts
from streamer.service.lateness import watch_loop
from streamer.service.page import StatusPage
from streamer.service.probes import Probes
from streamer.service.renewal import follow_secrets
from streamer.service.status import stream_rows
from streamer.service.stream import Stream
from streamer.service.streams import Connections, build_streams, leavings_of
from streamer.service.unconfigured import shard_of

log = structlog.get_logger()

DRAIN_SECONDS = 6.0
"""How long streams have to commit what is in hand after SIGTERM; with what follows, less than 10 s in all."""

LEAVE_SECONDS = 3.0
"""How long closing producers and leaving the group may take after that. What is left over, the brokers time out."""

_ASK_AGAIN = BackoffPolicy(base=1.0, ceiling=15.0)

R = TypeVar("R")


class Replica:
    """This process's share of the work on the ``chosen`` streams; with ``once``, until each has completed an export."""

    def __init__(
        self, config: Config, *, clock: Clock, metrics: Metrics, chosen: Sequence[StreamKey], once: bool = False
    ) -> None:
        self.streams: Mapping[StreamKey, Stream] = {}
        """The streams' loops, also of shards that others own; empty until Kafka has answered."""
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._chosen = tuple(chosen)
        self._once = once
        self._owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._session_seconds = config.kafka.session_timeout.total_seconds()
        page = StatusPage(
            rows=self.rows,
            ready=self._is_ready,
            replica=self._owner,
            prefix=config.topics.prefix,
            clock=clock.monotonic,
        )
        self._probes = Probes(metrics=metrics, ready=self._is_ready, page=page)
        metrics.ready.set_function(lambda: float(self._is_ready()))
        self._ownership: Ownership | None = None
        self._reader: CheckpointReader | None = None
        self._signals = Signals()
        self._budget = Budget(config.exports.reconcile_memory)
        self._leavings = leavings_of(config, budget=self._budget, clock=clock)
        self._signal_reader: SignalReader | None = None
        self._shards: AssignedShards | None = None

    @property
    def alone(self) -> bool:
        """With ``once``: whether this replica had all shards to itself, as it must."""
        return self._shards is None or self._shards.alone

    def rows(self) -> list[dict[str, Any]]:
        """The state of all streams, for ``/api/streams``."""
        entries = self._reader.entries if self._reader else {}
        rows = stream_rows(self._chosen, entries, now=self._clock.now())
        for row in rows:
            # A checkpoint tells who wrote it; who works on the stream now, only each replica knows of its own.
            row["here"] = self._works_on(shard_of(row["stream"]))
        return rows

    async def run(self) -> None:
        """Work until the clock's ``stopping`` is set, then drain. Raises ``ConfigError``, ``FatalError``."""
        check_partitioner()
        keep_large_buffers()
        leave_aside_what_lasts()
        tolerate_leftovers(asyncio.get_running_loop())
        if not self._once:
            await self._probes.start(self._config.http.host, self._config.http.port)
            log.info("listening", host=self._config.http.host, port=self._probes.port)
        try:
            topics = await self._patiently("topics", lambda: prepare_topics(self._config))
            if topics is None:
                return
            async with Connections(self._clock) as connections:
                self.streams = build_streams(
                    self._config,
                    connections=connections,
                    topics=topics,
                    budget=self._budget,
                    clock=self._clock,
                    metrics=self._metrics,
                    inbox_of=self._signals.inbox,
                    once=self._once,
                )
                await self._take_part(topics)
        finally:
            await self._probes.stop()

    async def _take_part(self, topics: Mapping[str, Topic]) -> None:
        self._reader = await self._patiently("checkpoints", lambda: _started(CheckpointReader(self._config)))
        if self._reader is None:
            return
        monotonic = self._clock.monotonic
        busy = frozenset(map(shard_of, self._chosen))
        self._ownership = await self._patiently(
            "group", lambda: _started(Ownership(self._config, busy=busy, monotonic=monotonic))
        )
        if self._ownership is None:
            return
        if self._config.topics.signals in topics:
            self._signal_reader = await self._patiently(
                "signals", lambda: _started(SignalReader(self._config, self._signals))
            )
        signals = [asyncio.create_task(self._signal_reader.run(), name="signals")] if self._signal_reader else []
        shards = self._shards = AssignedShards(
            self._config,
            owner=self._owner,
            topics=topics,
            streams={key: self.streams[key] for key in self._chosen},
            ownership=self._ownership,
            reader=self._reader,
            signals=self._signals,
            leavings=self._leavings,
            clock=self._clock,
            metrics=self._metrics,
            once=self._once,
        )
        tasks = (
            *signals,
            asyncio.create_task(self._reader.run(), name="checkpoint reader"),
            asyncio.create_task(self._ownership.run(), name="group membership"),
            asyncio.create_task(self._pulse(self._ownership), name="pulse"),
            asyncio.create_task(watch_loop(self._metrics, monotonic=monotonic, sleep=asyncio.sleep), name="loop delay"),
            asyncio.create_task(
                follow_secrets(self._config, sleep=asyncio.sleep, renewed=self._renew), name="secrets of files"
            ),
            asyncio.create_task(shards.follow(), name="assignment"),
        )
        stopping = asyncio.create_task(self._clock.stopping.wait(), name="stopping")
        try:
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # None of the tasks ends by itself: one that is done has failed, and its error ends the process.
            for task in tasks:
                if task.done():
                    task.result()
            await self._drain(shards)
        finally:
            stopping.cancel()
            await self._leave(shards, tasks)

    async def _drain(self, shards: AssignedShards) -> None:
        """Let the streams commit what they have in hand."""
        working = list(shards.working.values())
        log.info("draining", shards=sorted(shards.working))
        if working:
            done, late = await asyncio.wait(working, timeout=DRAIN_SECONDS)
            for task in done:
                # The group goes on meanwhile, and may give a shard to somebody else: its task is cancelled then.
                if not task.cancelled():
                    task.result()
            if late:
                log.warning("drain_cut_short", seconds=DRAIN_SECONDS, shards_left=len(late))

    async def _leave(self, shards: AssignedShards, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Close everything, within the limit; what can't be closed is left to the brokers' timeouts."""
        for task in tasks:
            task.cancel()
        ending = [*shards.cancel(), *tasks]
        parts = (self._ownership, self._reader, self._signal_reader)
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*ending, return_exceptions=True)
                await asyncio.gather(*(part.stop() for part in parts if part))
        except TimeoutError:
            log.warning("left_uncleanly", seconds=LEAVE_SECONDS)
        log.info("left")

    async def _pulse(self, ownership: Ownership) -> None:
        """Hear from the coordinator regularly, for readiness, and keep the gauges that grow with time."""
        while True:
            try:
                await self._hear(ownership)
            except (NotOwnerError, KafkaUnavailableError) as error:
                log.warning("coordinator_not_heard", reason=str(error))
            self._age()
            await asyncio.sleep(self._session_seconds / 4)

    def _age(self) -> None:
        """Set the gauges that grow with time, of the streams that are worked on here.

        Others' rows may be in the table too: of streams that are no longer configured, or of entity types that only a
        newer version knows.
        """
        now = self._clock.now()
        for key in self._chosen:
            entry = self._reader.entries.get(str(key)) if self._reader else None
            if entry is None or entry.checkpoint is None or not self._works_on(entry.shard):
                continue
            metrics = self._metrics.stream(key)
            if fresh := freshness(entry.checkpoint):
                metrics.lags(now - fresh)
            since = blocked_since(entry.checkpoint)
            metrics.blocked(now - since if since else timedelta())

    async def _hear(self, ownership: Ownership) -> None:
        """A proof where a shard is owned; in a rebalance and without shards, any answer of the coordinator."""
        assignment = ownership.assignment
        if assignment:
            try:
                await ownership.prove(min(assignment))
            except NotOwnerError:
                log.debug("not_owner_for_now")
            else:
                return
        await ownership.hear()

    def _works_on(self, shard: Shard) -> bool:
        return self._shards is not None and shard in self._shards.working

    def _renew(self) -> None:
        for stream in self.streams.values():
            stream.renew()

    def _is_ready(self) -> bool:
        heard_at = self._ownership.heard_at if self._ownership else None
        joined = self._shards is not None and self._shards.joined
        if not joined or heard_at is None or self._clock.stopping.is_set():
            return False
        return self._clock.monotonic() - heard_at < 2 * self._session_seconds

    async def _patiently(self, what: str, attempt: Callable[[], Awaitable[R]]) -> R | None:
        """Try until Kafka answers, saying so; None where the daemon is to stop first. ``once`` gives up in the end."""
        tries = 0
        while not self._clock.stopping.is_set():
            try:
                return await self._clock.unless_stopping(attempt())
            except KafkaUnavailableError as error:
                tries += 1
                servers = ", ".join(self._config.kafka.bootstrap_servers)
                if self._once and tries >= 3:
                    raise FatalError(f"Kafka can't be used at {servers} (kafka.bootstrap_servers): {error}") from error
                wait = delay(_ASK_AGAIN, tries, random=self._clock.dice)
                log.warning("waiting_for_kafka", servers=servers, step=what, reason=str(error), seconds=round(wait, 1))
                await self._clock.rest(wait)
        return None


class _Part(Protocol):
    """A client of Kafka with a life of its own."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


P = TypeVar("P", bound=_Part)


async def _started(part: P) -> P:
    """The part, started; stopped again where that fails."""
    try:
        await part.start()
    except BaseException:
        await part.stop()
        raise
    return part
