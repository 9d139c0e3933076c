"""Signals on their way into a stream: looked at between its steps, and between the blocks of an export."""

from __future__ import annotations

import asyncio

from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome
from streamer.core.signals import SignalRecord, calls_away, heed
from streamer.metrics import StreamMetrics
from streamer.service.clock import Clock
from streamer.service.progress import Progress
from streamer.service.session import Session


class Heeding:
    """Heeds the signals of one stream, each in one transaction with its answer and the offset behind it."""

    def __init__(self, progress: Progress, *, clock: Clock, metrics: StreamMetrics) -> None:
        self._progress = progress
        self._clock = clock
        self._metrics = metrics

    async def heed(self, session: Session, checkpoint: Checkpoint) -> Checkpoint:
        """Heed all signals that have come, in their order; the checkpoint that follows from them."""
        inbox = self._progress.inbox
        while not session.lost.is_set() and (record := inbox.next(checkpoint.next_signal)) is not None:
            checkpoint = await self._heed_one(session, checkpoint, record)
        return checkpoint

    async def _heed_one(self, session: Session, checkpoint: Checkpoint, record: SignalRecord) -> Checkpoint:
        key = self._progress.key
        told = []

        def decide() -> Outcome:
            outcome = heed(key, checkpoint, record, now=self._clock.now())
            told.append(outcome.events[-1])
            return outcome

        heeded = await self._progress.commit(session, decide)
        answer = told[-1].body
        self._progress.log.info(
            answer["event"], signal=answer["signal"], offset=record.offset, reason=answer.get("reason")
        )
        self._metrics.signalled(applied="reason" not in answer)
        return heeded

    async def call_away(self, away: asyncio.Event) -> None:
        """Set ``away`` once a signal has come that wants the stream to leave the export that it publishes."""
        after = self._progress.next_signal
        while not away.is_set():
            await self._progress.inbox.arrival(after)
            if (record := self._progress.inbox.next(after)) is not None:
                after = record.offset + 1
                if calls_away(record):
                    away.set()
