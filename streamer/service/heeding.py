"""Signals on their way into a stream: looked at between its steps, and between the blocks of an export."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome
from streamer.core.signals import SignalRecord, calls_away, heed
from streamer.metrics import StreamMetrics
from streamer.service.clock import Clock
from streamer.service.progress import Progress
from streamer.service.session import Session


class Heeding:
    """Heeds the signals of one stream, each in one transaction with its answer and the offset behind it.

    ``decide`` says what comes of a signal: ``core.signals.heed``, but for streams that no settings have.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        clock: Clock,
        metrics: StreamMetrics,
        decide: Callable[[Checkpoint, SignalRecord], Outcome] | None = None,
    ) -> None:
        self._progress = progress
        self._decide = decide or self._as_configured
        self._clock = clock
        self._metrics = metrics

    async def heed(self, session: Session, checkpoint: Checkpoint) -> Checkpoint:
        """Heed all signals that have come, in their order; the checkpoint that follows from them."""
        inbox = self._progress.inbox
        while not session.lost.is_set() and (record := inbox.next(checkpoint.next_signal)) is not None:
            checkpoint = await self._heed_one(session, checkpoint, record)
        return checkpoint

    async def _heed_one(self, session: Session, checkpoint: Checkpoint, record: SignalRecord) -> Checkpoint:
        told = []

        def decide() -> Outcome:
            outcome = self._decide(checkpoint, record)
            told.append(outcome.events[-1])
            return outcome

        heeded = await self._progress.commit(session, decide)
        answer = told[-1].body
        self._progress.log.info(
            answer["event"], signal=answer["signal"], offset=record.offset, reason=answer.get("reason")
        )
        self._metrics.signalled(applied="reason" not in answer)
        return heeded

    def _as_configured(self, checkpoint: Checkpoint, record: SignalRecord) -> Outcome:
        return heed(self._progress.key, checkpoint, record, now=self._clock.now())

    async def call_away(self, away: asyncio.Event) -> None:
        """Set ``away`` once a signal has come that wants the stream to leave the export that it publishes."""
        after = self._progress.next_signal
        while not away.is_set():
            await self._progress.inbox.arrival(after)
            if (record := self._progress.inbox.next(after)) is not None:
                after = record.offset + 1
                if calls_away(record):
                    away.set()
