"""Signals on their way into a stream: looked at between its steps, and between the blocks of an export."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from streamer.core.answering import Place, after_erasure, after_replay
from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome, ReplayedLine
from streamer.core.heeding import answered, heed, writes_in
from streamer.core.record_format import encode_headers
from streamer.core.signals import Erase, Replay, SignalError, SignalRecord, calls_away
from streamer.core.states import Counts
from streamer.errors import KafkaUnavailableError
from streamer.kafka.batches import RecordBatches
from streamer.kafka.sending import Offsets
from streamer.metrics import StreamMetrics
from streamer.service.clock import Clock
from streamer.service.erasing import Erasing
from streamer.service.progress import Progress
from streamer.service.replaying import Replaying
from streamer.service.session import Decision, Session


class Block(NamedTuple):
    """Records that go with the answer to a signal; as ``Session.commit`` takes them."""

    topic: str
    batches: RecordBatches
    counts: Counts


class Heeding:
    """Heeds the signals of one stream, each in one transaction with its answer and the offset behind it.

    ``decide`` says what comes of a signal: ``core.heeding.heed``, but for streams that no settings have.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        clock: Clock,
        metrics: StreamMetrics,
        decide: Callable[[Checkpoint, SignalRecord], Outcome] | None = None,
        replaying: Replaying | None = None,
        erasing: Erasing | None = None,
    ) -> None:
        self._progress = progress
        self._decide = decide or self._as_configured
        self._replaying = replaying
        self._erasing = erasing
        self._clock = clock
        self._metrics = metrics

    async def heed(self, session: Session, checkpoint: Checkpoint) -> Checkpoint:
        """Heed all signals that have come, in their order; the checkpoint that follows from them."""
        inbox = self._progress.inbox
        while not session.lost.is_set() and (record := inbox.next(checkpoint.next_signal)) is not None:
            checkpoint = await self._heed_one(session, checkpoint, record)
        return checkpoint

    async def _heed_one(self, session: Session, checkpoint: Checkpoint, record: SignalRecord) -> Checkpoint:
        wanted = writes_in(checkpoint, record)
        if isinstance(wanted, Replay) and self._replaying is not None:
            return await self._replay(session, checkpoint, record, wanted, self._replaying)
        if isinstance(wanted, Erase) and self._erasing is not None:
            return await self._erase(session, checkpoint, record, wanted, self._erasing)
        return await self._commit(session, lambda _: self._decide(checkpoint, record), record)

    async def _replay(
        self, session: Session, checkpoint: Checkpoint, record: SignalRecord, wanted: Replay, replaying: Replaying
    ) -> Checkpoint:
        """The record, its answer and the checkpoint in one transaction, or the reason why there is no record."""
        key, topic = self._progress.key, replaying.settings.topic
        try:
            line = await replaying.line(checkpoint, wanted, at=record.offset)
        except (SignalError, KafkaUnavailableError) as error:
            # Also where Kafka can't be read: other signals wait behind this one, and a person can write it again.
            return await self._reject(session, checkpoint, record, str(error))

        def decide(offsets: Mapping[int, Offsets]) -> Outcome:
            place = Place(line.partition, offsets[line.partition].start, line.partitions)
            told = ReplayedLine(wanted.ce_id, topic, place.partition, place.offset)
            return after_replay(key, checkpoint, record, place, told, now=self._clock.now())

        batches = session.new_batches()
        batches.append(line.partition, line.key, line.value, encode_headers(line.headers))
        return await self._commit(session, decide, record, Block(topic, batches, Counts(records=1)))

    async def _erase(
        self, session: Session, checkpoint: Checkpoint, record: SignalRecord, wanted: Erase, erasing: Erasing
    ) -> Checkpoint:
        """The tombstone, the answer, and in the checkpoint that the entity stays out, in one transaction."""
        key = self._progress.key
        try:
            due = erasing.tombstone(checkpoint, wanted, at=record.offset, now=self._clock.now())
        except SignalError as error:
            return await self._reject(session, checkpoint, record, str(error))

        def decide(offsets: Mapping[int, Offsets]) -> Outcome:
            place = Place(due.partition, offsets[due.partition].start, due.partitions)
            return after_erasure(key, checkpoint, record, place, due.erased, now=self._clock.now())

        batches = session.new_batches()
        batches.append(due.partition, due.key, None, encode_headers(due.headers))
        return await self._commit(session, decide, record, Block(due.topic, batches, Counts(tombstones=1)))

    async def _reject(self, session: Session, checkpoint: Checkpoint, record: SignalRecord, reason: str) -> Checkpoint:
        key, nothing = self._progress.key, Outcome(checkpoint)
        return await self._commit(
            session, lambda _: answered(key, record, nothing, reason, now=self._clock.now()), record
        )

    async def _commit(
        self, session: Session, decide: Decision, record: SignalRecord, block: Block | None = None
    ) -> Checkpoint:
        told = []

        def conclude(offsets: Mapping[int, Offsets]) -> Outcome:
            outcome = decide(offsets)
            told.append(outcome.events[-1])
            return outcome

        key, with_block = self._progress.key, block._asdict() if block else {}
        heeded = self._progress.moved(await session.commit(key, conclude, **with_block))
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
