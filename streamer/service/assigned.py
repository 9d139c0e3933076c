"""The shards that the group has given to this replica, and the work on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from streamer.config import CHECKPOINT_SHARDS, Config
from streamer.kafka.checkpoints import CheckpointReader
from streamer.kafka.delivery import producer_for
from streamer.kafka.ownership import Ownership
from streamer.kafka.signals import Signals
from streamer.kafka.topics import Topic, prepare_topics_again
from streamer.metrics import Metrics
from streamer.model import Shard, StreamKey
from streamer.service.clock import Clock
from streamer.service.session import Session, ShardTopics
from streamer.service.shard import OwnedShard, ShardStream
from streamer.service.stream import Stream
from streamer.service.taking_over import take_over
from streamer.service.unconfigured import Leavings, Unconfigured, shard_of, unsettled

log = structlog.get_logger()

_LOOK_SECONDS = 1.0
"""How often is looked again where nothing has changed: signals may ask for work on a shard without streams."""


class AssignedShards:
    """Follows the assignment. With ``once``, work ends as soon as the streams have completed an export each."""

    def __init__(
        self,
        config: Config,
        *,
        owner: str,
        topics: Mapping[str, Topic],
        streams: Mapping[StreamKey, Stream],
        ownership: Ownership,
        reader: CheckpointReader,
        signals: Signals,
        leavings: Leavings,
        clock: Clock,
        metrics: Metrics,
        once: bool,
    ) -> None:
        self.working: dict[Shard, asyncio.Task[None]] = {}
        """The work on each shard that is owned and has any."""
        self.joined = False
        """Whether the group has ever assigned anything, be it nothing."""
        self.alone = True
        """With ``once``: whether this replica had all shards to itself, as it must."""
        self._ending: dict[Shard, asyncio.Task[None]] = {}
        self._take_overs = 0
        self._config = config
        self._owner = owner
        self._topics = topics
        self._streams = streams
        self._ownership = ownership
        self._reader = reader
        self._signals = signals
        self._leavings = leavings
        self._clock = clock
        self._metrics = metrics
        self._once = once
        self._session_seconds = config.kafka.session_timeout.total_seconds()

    def cancel(self) -> list[asyncio.Task[None]]:
        """Cancel all work. Tasks, also of shards given up before, that end when their producers are closed."""
        for task in self.working.values():
            task.cancel()
        return [*self.working.values(), *self._ending.values()]

    async def follow(self) -> None:
        """Start and end work on shards as the group assigns them.

        A rebalance alone ends nothing: shards that stay go on through it. But without an assignment for twice the
        session timeout, somebody else surely has them.
        """
        while True:
            await self._until_changed()
            self._collect_ended()
            assignment = self._ownership.assignment
            if assignment is None:
                if self._clock.monotonic() - self._ownership.unassigned_since > 2 * self._session_seconds:
                    self._end_work(set(self.working))
                continue
            self.joined = True
            if self._once and len(assignment) < CHECKPOINT_SHARDS:
                self.alone = False
                self._clock.stopping.set()
                continue
            self._end_work(set(self.working) - assignment)
            idle = sorted(assignment - set(self.working) - set(self._ending))
            # Where a shard is worked on already, its own loop looks after these.
            unsettled = self._unsettled() if idle else set()
            for shard in idle:
                streams: list[ShardStream] = [*self._streams_of(shard)]
                if streams or shard in unsettled:
                    streams += self._unconfigured(shard)
                    work = self._owned(shard, streams)
                    self.working[shard] = asyncio.create_task(work.run(), name=f"shard {shard}")
            self._metrics.owned_shards.set(len(assignment))
            if self._once and not self.working:
                self._clock.stopping.set()

    async def _until_changed(self) -> None:
        """Until the assignment changes or a shard's work ends, at most a second."""
        changed = asyncio.create_task(self._ownership.changed.wait())
        # What has ended before would end every wait at once: streams that are done, in a daemon that is told to stop.
        at_work = {task for task in (*self.working.values(), *self._ending.values()) if not task.done()}
        try:
            await asyncio.wait(
                {changed, *at_work},
                timeout=_LOOK_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            changed.cancel()
        self._ownership.changed.clear()

    def _collect_ended(self) -> None:
        """A shard's work ends by itself only when its streams are done; an error of it is a defect."""
        for shard, task in list(self.working.items()):
            if task.done():
                task.result()
                if self._once:
                    del self.working[shard]
        self._ending = {shard: task for shard, task in self._ending.items() if not task.done()}

    def _end_work(self, shards: set[Shard]) -> None:
        """Step down from shards. Their producers close in the background, which may take some seconds; should a shard
        come back meanwhile, its work begins when that is over.
        """
        for shard in shards:
            log.info("shard_given_up", shard=shard)
            task = self._ending[shard] = self.working.pop(shard)
            task.cancel()
            for stream in self._streams_of(shard):
                self._metrics.stream(stream.key).left()

    def _streams_of(self, shard: Shard) -> list[Stream]:
        """The chosen streams of a shard that are not done."""
        return [stream for key, stream in self._streams.items() if shard_of(key) == shard and stream.done is None]

    def _unsettled(self) -> set[Shard]:
        """Shards with streams that no settings have, and for which something is to be done."""
        if self._once:
            return set()
        checkpoints = {name: entry.checkpoint for name, entry in self._reader.entries.items()}
        return {shard_of(stream) for stream in unsettled(self._leavings.configured, self._signals, checkpoints)}

    def _unconfigured(self, shard: Shard) -> list[Unconfigured]:
        if self._once:
            return []
        return [
            Unconfigured(
                shard, signals=self._signals, leavings=self._leavings, clock=self._clock, metrics=self._metrics
            )
        ]

    def _owned(self, shard: Shard, streams: Sequence[ShardStream]) -> OwnedShard:
        names = self._config.topics

        taken = 0

        async def take(shard: Shard) -> Session:
            nonlocal taken
            taken += 1
            if taken > 1:
                # There was trouble, and a topic that somebody has deleted meanwhile would be trouble for ever.
                await prepare_topics_again(self._config)
            self._take_overs += 1
            return await take_over(
                shard,
                new_producer=lambda shard, confirm: producer_for(
                    self._config,
                    self._topics,
                    shard,
                    milliseconds=self._clock.milliseconds,
                    monotonic=self._clock.monotonic,
                    confirm=confirm,
                ),
                group=self._ownership,
                checkpoints=self._reader,
                owner=f"{self._owner}.{self._take_overs}",
                topics=ShardTopics(events=names.events, checkpoints=names.checkpoints, dead_letters=names.dead_letters),
                metrics=self._metrics,
                monotonic=self._clock.monotonic,
            )

        return OwnedShard(
            shard, streams, take_over=take, clock=self._clock, restarted=self._metrics.producer_restarts.inc
        )
