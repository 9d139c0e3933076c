"""What is left to do for streams that no settings have (any more): to answer their signals, and to retire them.

Their checkpoints and signals tell of them, nothing else does. So a replica looks for them in every shard that it owns,
and takes a shard over for them alone where none of its own streams is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

import msgspec
import structlog

from streamer.config import CHECKPOINT_SHARDS
from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome
from streamer.core.heeding import Remains, heed_unconfigured
from streamer.core.partitioner import partition_of
from streamer.core.signals import SignalRecord
from streamer.core.states import Retiring
from streamer.errors import NotOwnerError, ProducerLostError, RetriableError
from streamer.kafka.signals import Signals
from streamer.metrics import Metrics
from streamer.model import Shard, StreamKey
from streamer.service.ahead import Ends
from streamer.service.clock import Clock
from streamer.service.heeding import Heeding
from streamer.service.progress import Progress
from streamer.service.reconciling import LeftOffError
from streamer.service.retiring import Retirement
from streamer.service.session import Session
from streamer.service.shard import Sessions

log = structlog.get_logger()


def shard_of(stream: StreamKey | str) -> Shard:
    """The shard that a stream, or a key, belongs to, whether it is configured or not."""
    return Shard(partition_of(str(stream).encode(), CHECKPOINT_SHARDS))


def unsettled(
    configured: Collection[StreamKey], signals: Signals, checkpoints: Mapping[str, Checkpoint | None]
) -> list[StreamKey]:
    """Streams without settings that wait for an answer to a signal, or for their tombstones.

    Those whose checkpoints nobody here can read are left alone.
    """
    known = {str(stream) for stream in configured}
    found = []
    for name in sorted({*signals.keys(), *checkpoints} - known):
        try:
            stream = StreamKey.parse(name)
        except ValueError:
            # Of a key that names no stream nobody could tell in an event; ``*`` is for those with settings.
            continue
        checkpoint = checkpoints.get(name, Checkpoint())
        if checkpoint is not None and _waits(stream, checkpoint, signals):
            found.append(stream)
    return found


def _waits(stream: StreamKey, checkpoint: Checkpoint, signals: Signals) -> bool:
    return isinstance(checkpoint.state, Retiring) or signals.first(stream, checkpoint.next_signal) is not None


class Leavings(msgspec.Struct, frozen=True):
    """How to find out about what streams without settings have left."""

    configured: Collection[StreamKey]
    remains: Callable[[StreamKey], Remains]
    retirement: Callable[[StreamKey, str], Retirement]
    """Of a stream whose entities are in this topic."""
    partitions: Callable[[str], Awaitable[int]]
    """How many a topic has, 0 where there is none."""


class Unconfigured:
    """The loop of one shard's streams without settings, one step of each after the other."""

    def __init__(self, shard: Shard, *, signals: Signals, leavings: Leavings, clock: Clock, metrics: Metrics) -> None:
        self.key = f"without settings of shard {shard}"
        self._shard = shard
        self._signals = signals
        self._leavings = leavings
        self._clock = clock
        self._metrics = metrics
        self._progress: dict[StreamKey, Progress] = {}

    async def run(self, sessions: Sessions) -> None:
        """Live until the daemon stops."""
        while not self._clock.stopping.is_set():
            session = await self._clock.unless_stopping(sessions.next())
            if session is None:
                return
            try:
                await self._live(session)
            except ProducerLostError as error:
                log.info("shard_reads_back", shard=self._shard, reason=str(error))

    async def _live(self, session: Session) -> None:
        over = Ends(self._clock.stopping, session.lost)
        while not over.any_set():
            end = self._signals.end
            waiting = unsettled(self._leavings.configured, self._signals, session.checkpoints)
            mine = [stream for stream in waiting if shard_of(stream) == self._shard]
            for stream in mine:
                await self._go_on(session, over, stream)
            if not mine:
                await self._until_more(over, end)

    async def _go_on(self, session: Session, over: Ends, stream: StreamKey) -> None:
        progress = self._progress_of(stream)
        checkpoint = session.checkpoint(stream)
        assert checkpoint is not None  # noqa: S101 (for mypy; that is what unsettled leaves out)
        progress.tell(checkpoint)
        try:
            checkpoint = await self._heeding(progress).heed(session, checkpoint)
            if isinstance(checkpoint.state, Retiring) and not over.any_set():
                await self._retire(session, over, progress, checkpoint, checkpoint.state)
        except LeftOffError:
            return
        except (RetriableError, NotOwnerError) as error:
            await progress.wait_after(session, error)
        finally:
            # Nobody is to watch what no settings have; where it retires still, this was but a moment.
            self._metrics.stream(stream).left()

    def _heeding(self, progress: Progress) -> Heeding:
        def decide(checkpoint: Checkpoint, record: SignalRecord) -> Outcome:
            remains = self._leavings.remains(progress.key)
            return heed_unconfigured(progress.key, checkpoint, record, remains, now=self._clock.now())

        return Heeding(progress, clock=self._clock, metrics=self._metrics.stream(progress.key), decide=decide)

    async def _retire(
        self, session: Session, over: Ends, progress: Progress, checkpoint: Checkpoint, state: Retiring
    ) -> None:
        partitions = await self._leavings.partitions(state.topic)
        retirement = self._leavings.retirement(progress.key, state.topic)
        progress.moved(await retirement.write(session, over, checkpoint, state, partitions))
        progress.log.info("stream_retired", topic=state.topic)

    def _progress_of(self, stream: StreamKey) -> Progress:
        known = self._progress.get(stream)
        if known is None:
            metrics, inbox = self._metrics.stream(stream), self._signals.inbox(stream)
            known = self._progress[stream] = Progress(stream, clock=self._clock, metrics=metrics, inbox=inbox)
        return known

    async def _until_more(self, over: Ends, end: int) -> None:
        """Until a signal has come, or it is over."""
        waits = {
            asyncio.create_task(self._signals.beyond(end)),
            *(asyncio.create_task(event.wait()) for event in over.events),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
