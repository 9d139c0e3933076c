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

from streamer.config import CHECKPOINT_SHARDS, Config
from streamer.core.backoff import BackoffPolicy, delay
from streamer.core.differences import Budget
from streamer.core.partitioner import check_partitioner
from streamer.core.schedule import blocked_since, freshness
from streamer.errors import FatalError, KafkaUnavailableError, NotOwnerError
from streamer.kafka.checkpoints import CheckpointReader
from streamer.kafka.connection import tolerate_leftovers
from streamer.kafka.delivery import producer_for
from streamer.kafka.ownership import Ownership
from streamer.kafka.signals import SignalReader, Signals
from streamer.kafka.topics import Topic, prepare_topics
from streamer.metrics import Metrics
from streamer.model import Shard, StreamKey
from streamer.service.allocator import keep_large_buffers
from streamer.service.clock import Clock
from streamer.service.collector import leave_aside_what_lasts
from streamer.service.lateness import watch_loop
from streamer.service.page import StatusPage
from streamer.service.probes import Probes
from streamer.service.renewal import follow_secrets
from streamer.service.session import Session, ShardTopics, take_over
from streamer.service.shard import OwnedShard, ShardStream
from streamer.service.status import stream_rows
from streamer.service.stream import Stream
from streamer.service.streams import Connections, build_streams, leavings_of
from streamer.service.unconfigured import Unconfigured, shard_of, unsettled

log = structlog.get_logger()

DRAIN_SECONDS = 6.0
"""How long streams have to commit what is in hand after SIGTERM; with what follows, less than 10 s in all."""

LEAVE_SECONDS = 3.0
"""How long closing producers and leaving the group may take after that. What is left over, the brokers time out."""

_PULSE_SECONDS = 1.0
_ASK_AGAIN = BackoffPolicy(base=1.0, ceiling=15.0)

R = TypeVar("R")


class Replica:
    """This process's share of the work on the ``chosen`` streams; with ``once``, until each has completed an export."""

    def __init__(
        self, config: Config, *, clock: Clock, metrics: Metrics, chosen: Sequence[StreamKey], once: bool = False
    ) -> None:
        self.streams: Mapping[StreamKey, Stream] = {}
        """The streams' loops, also of shards that others own; empty until Kafka has answered."""
        self.alone = True
        """With ``once``: whether this replica had all shards to itself, as it must."""
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
        self._working: dict[Shard, asyncio.Task[None]] = {}
        self._ending: dict[Shard, asyncio.Task[None]] = {}
        self._joined = False
        self._take_overs = 0

    def rows(self) -> list[dict[str, Any]]:
        """The state of all streams, for ``/api/streams``."""
        entries = self._reader.entries if self._reader else {}
        rows = stream_rows(self._chosen, entries, now=self._clock.now())
        for row in rows:
            # A checkpoint tells who wrote it; who works on the stream now, only each replica knows of its own.
            row["here"] = shard_of(row["stream"]) in self._working
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
        self._reader = await self._patiently("checkpoints", self._start_reader)
        self._ownership = await self._patiently("group", self._start_ownership) if self._reader else None
        if self._reader is None or self._ownership is None:
            return
        if self._config.topics.signals in topics:
            self._signal_reader = await self._patiently("signals", self._start_signal_reader)
        signals = [asyncio.create_task(self._signal_reader.run(), name="signals")] if self._signal_reader else []
        tasks = (
            *signals,
            asyncio.create_task(self._reader.run(), name="checkpoint reader"),
            asyncio.create_task(self._ownership.run(), name="group membership"),
            asyncio.create_task(self._pulse(self._ownership), name="pulse"),
            asyncio.create_task(
                watch_loop(self._metrics, monotonic=self._clock.monotonic, sleep=asyncio.sleep), name="loop delay"
            ),
            asyncio.create_task(
                follow_secrets(self._config, sleep=asyncio.sleep, renewed=self._renew), name="secrets of files"
            ),
            asyncio.create_task(self._follow_assignment(topics, self._ownership, self._reader), name="assignment"),
        )
        stopping = asyncio.create_task(self._clock.stopping.wait(), name="stopping")
        try:
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # None of the tasks ends by itself: one that is done has failed, and its error ends the process.
            for task in tasks:
                if task.done():
                    task.result()
            await self._drain()
        finally:
            stopping.cancel()
            await self._leave(tasks)

    async def _drain(self) -> None:
        """Let the streams commit what they have in hand."""
        working = list(self._working.values())
        log.info("draining", shards=sorted(self._working))
        if working:
            done, late = await asyncio.wait(working, timeout=DRAIN_SECONDS)
            for task in done:
                # The group goes on meanwhile, and may give a shard to somebody else: its task is cancelled then.
                if not task.cancelled():
                    task.result()
            if late:
                log.warning("drain_cut_short", seconds=DRAIN_SECONDS, shards_left=len(late))

    async def _leave(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Close everything, within the limit; what can't be closed is left to the brokers' timeouts."""
        for task in (*self._working.values(), *tasks):
            task.cancel()
        # Those that have been given up are cancelled already, and close their producers.
        ending = [*self._working.values(), *self._ending.values(), *tasks]
        parts = (self._ownership, self._reader, self._signal_reader)
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*ending, return_exceptions=True)
                await asyncio.gather(*(part.stop() for part in parts if part))
        except TimeoutError:
            log.warning("left_uncleanly", seconds=LEAVE_SECONDS)
        log.info("left")

    async def _follow_assignment(
        self, topics: Mapping[str, Topic], ownership: Ownership, reader: CheckpointReader
    ) -> None:
        """Start and end work on shards as the group assigns them.

        A rebalance alone ends nothing: shards that stay go on through it. But without an assignment for twice the
        session timeout, somebody else surely has them.
        """
        while True:
            await self._until_changed(ownership)
            assignment = ownership.assignment
            if assignment is None:
                if self._clock.monotonic() - ownership.unassigned_since > 2 * self._session_seconds:
                    self._end_work(set(self._working))
                continue
            self._joined = True
            if self._once and len(assignment) < CHECKPOINT_SHARDS:
                self.alone = False
                self._clock.stopping.set()
                continue
            self._end_work(set(self._working) - assignment)
            self._collect_ended()
            self._ending = {shard: task for shard, task in self._ending.items() if not task.done()}
            unsettled = self._unsettled(reader)
            for shard in sorted(assignment - set(self._working) - set(self._ending)):
                streams: list[ShardStream] = [*self._streams_of(shard)]
                if streams or shard in unsettled:
                    streams += self._unconfigured(shard)
                    work = self._owned(shard, streams, topics, ownership, reader)
                    self._working[shard] = asyncio.create_task(work.run(), name=f"shard {shard}")
            self._metrics.owned_shards.set(len(assignment))
            if self._once and not self._working:
                self._clock.stopping.set()

    async def _until_changed(self, ownership: Ownership) -> None:
        """Until the assignment changes or a shard's work ends, at most a second."""
        changed = asyncio.create_task(ownership.changed.wait())
        try:
            await asyncio.wait(
                {changed, *self._working.values(), *self._ending.values()},
                timeout=_PULSE_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            changed.cancel()
        ownership.changed.clear()

    def _collect_ended(self) -> None:
        """A shard's work ends by itself only when its streams are done; an error of it is a defect."""
        for shard, task in list(self._working.items()):
            if task.done():
                task.result()
                if self._once:
                    del self._working[shard]

    def _end_work(self, shards: set[Shard]) -> None:
        """Step down from shards. Their producers close in the background, which may take some seconds; should a shard
        come back meanwhile, its work begins when that is over.
        """
        for shard in shards:
            log.info("shard_given_up", shard=shard)
            task = self._ending[shard] = self._working.pop(shard)
            task.cancel()
            for stream in self._streams_of(shard):
                self._metrics.stream(stream.key).left()

    def _streams_of(self, shard: Shard) -> list[Stream]:
        """The chosen streams of a shard that are not done."""
        return [stream for key in self._chosen if shard_of(key) == shard and (stream := self.streams[key]).done is None]

    def _unsettled(self, reader: CheckpointReader) -> set[Shard]:
        """Shards with streams that no settings have, and for which something is to be done."""
        if self._once:
            return set()
        checkpoints = {name: entry.checkpoint for name, entry in reader.entries.items()}
        return {shard_of(stream) for stream in unsettled(self._leavings.configured, self._signals, checkpoints)}

    def _unconfigured(self, shard: Shard) -> list[Unconfigured]:
        if self._once:
            return []
        return [
            Unconfigured(
                shard, signals=self._signals, leavings=self._leavings, clock=self._clock, metrics=self._metrics
            )
        ]

    def _owned(
        self,
        shard: Shard,
        streams: Sequence[ShardStream],
        topics: Mapping[str, Topic],
        ownership: Ownership,
        reader: CheckpointReader,
    ) -> OwnedShard:
        names = self._config.topics

        taken = 0

        async def take(shard: Shard) -> Session:
            nonlocal taken
            taken += 1
            if taken > 1:
                # There was trouble, and a topic that somebody has deleted meanwhile would be trouble for ever.
                await prepare_topics(self._config)
            self._take_overs += 1
            return await take_over(
                shard,
                new_producer=lambda shard, confirm: producer_for(
                    self._config,
                    topics,
                    shard,
                    milliseconds=self._clock.milliseconds,
                    monotonic=self._clock.monotonic,
                    confirm=confirm,
                ),
                group=ownership,
                checkpoints=reader,
                owner=f"{self._owner}.{self._take_overs}",
                topics=ShardTopics(events=names.events, checkpoints=names.checkpoints, dead_letters=names.dead_letters),
                metrics=self._metrics,
                monotonic=self._clock.monotonic,
            )

        return OwnedShard(
            shard, streams, take_over=take, clock=self._clock, restarted=self._metrics.producer_restarts.inc
        )

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
            if entry is None or entry.checkpoint is None or entry.shard not in self._working:
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

    def _renew(self) -> None:
        for stream in self.streams.values():
            stream.renew()

    def _is_ready(self) -> bool:
        heard_at = self._ownership.heard_at if self._ownership else None
        if not self._joined or heard_at is None or self._clock.stopping.is_set():
            return False
        return self._clock.monotonic() - heard_at < 2 * self._session_seconds

    async def _start_reader(self) -> CheckpointReader:
        return await _started(CheckpointReader(self._config))

    async def _start_ownership(self) -> Ownership:
        return await _started(Ownership(self._config, monotonic=self._clock.monotonic))

    async def _start_signal_reader(self) -> SignalReader:
        return await _started(SignalReader(self._config, self._signals))

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
