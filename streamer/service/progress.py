"""What all steps of a stream's loop share: committing, saying where the stream is, and waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

import structlog

from streamer.core.backoff import BackoffPolicy, delay
from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome
from streamer.core.inputs import Input
from streamer.core.lifecycle import transition
from streamer.core.schedule import blocked_since
from streamer.core.signals import SignalRecord
from streamer.core.states import Requesting, Stopped
from streamer.errors import AddRejectedError, NotAskedError, NotOwnerError, RetriableError
from streamer.kafka.sending import Offsets
from streamer.metrics import StreamMetrics
from streamer.model import StreamKey
from streamer.service.clock import Clock
from streamer.service.session import Session

log = structlog.get_logger()

_RETRY = BackoffPolicy(base=1.0, ceiling=300.0)
_NOT_ASKED = BackoffPolicy(base=1.0, ceiling=1.0)


class Inbox(Protocol):
    """The signals for one stream."""

    def next(self, after: int) -> SignalRecord | None:
        """The first one at this offset of the topic or behind it, None where there is none yet."""

    async def arrival(self, after: int) -> None:
        """Wait until there is one."""


class Progress:
    """One stream's way through its checkpoints, in this replica."""

    def __init__(self, key: StreamKey, *, clock: Clock, metrics: StreamMetrics, inbox: Inbox) -> None:
        self.key = key
        self.inbox = inbox
        self.next_signal = 0
        """Offset of the next signal that the stream has to look at."""
        self.renewed = asyncio.Event()
        """Set when a secret was replaced, until the stream has heard of it."""
        self.log = log.bind(connection=key.connection, entity_type=key.entity_type.value)
        self._clock = clock
        self._metrics = metrics
        self._troubles = 0

    async def save(self, session: Session, checkpoint: Checkpoint, event: Input) -> Checkpoint:
        """Commit the transition alone, without records."""
        return await self.commit(session, lambda: transition(self.key, checkpoint, event, now=self._clock.now()))

    async def commit(self, session: Session, decide: Callable[[], Outcome]) -> Checkpoint:
        """Commit what ``decide`` says when it is this commit's turn, without records."""

        def conclude(_offsets: Mapping[int, Offsets]) -> Outcome:
            return decide()

        return self.moved(await session.commit(self.key, conclude))

    def moved(self, checkpoint: Checkpoint) -> Checkpoint:
        """Every committed checkpoint passes here: it is progress."""
        self.tell(checkpoint)
        if not isinstance(checkpoint.state, Requesting):
            self._troubles = 0
        return checkpoint

    def tell(self, checkpoint: Checkpoint) -> None:
        """The metrics that say where the stream is."""
        since = blocked_since(checkpoint)
        self.next_signal = checkpoint.next_signal
        self._metrics.entered(checkpoint.phase)
        self._metrics.stopped(isinstance(checkpoint.state, Stopped))
        self._metrics.withheld(checkpoint.snapshot.tombstones_withheld if checkpoint.snapshot else 0)
        self._metrics.paused(checkpoint.paused)
        self._metrics.refused(checkpoint.filters_refused_at is not None)
        self._metrics.blocked(self._clock.now() - since if since else timedelta())

    def answered(self) -> None:
        """Mews has said something of use: what went wrong before is over."""
        self._troubles = 0

    async def wait_after(
        self,
        session: Session,
        error: RetriableError | AddRejectedError | NotOwnerError,
        counted_as: str | None = None,
    ) -> None:
        """Log the trouble, count it under its name, and wait: longer each time until something is committed again.

        But not for what nobody was asked: that would keep a stream from its next export for minutes because this
        process was slow for a while, or because other streams of the token had much to ask.
        """
        was_asked = not isinstance(error, NotAskedError)
        self._troubles += was_asked
        reason = counted_as or type(error).__name__
        wished = error.retry_after if isinstance(error, RetriableError) else None
        policy = _RETRY if was_asked else _NOT_ASKED
        wait = delay(policy, self._troubles, random=self._clock.dice, retry_after=wished)
        self.log.warning("step_failed", kind=reason, reason=str(error), attempt=self._troubles, seconds=round(wait, 1))
        self._metrics.retried(reason)
        await self.rest(session, wait)

    async def rest(self, session: Session, seconds: float) -> None:
        """Wait that long, or until the daemon is to stop, the session is lost, a signal or a new secret has come."""
        waits = {
            asyncio.create_task(self._clock.rest(seconds)),
            asyncio.create_task(session.lost.wait()),
            asyncio.create_task(self.inbox.arrival(self.next_signal)),
            asyncio.create_task(self.renewed.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
