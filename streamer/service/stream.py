"""One stream's loop: ask the core what comes next, carry it out, commit what follows.

All decisions are pure functions of the checkpoint, of what Mews said, of signals and of the time (``core.schedule``,
``core.lifecycle``, ``core.heeding``); this module waits, calls, and handles the errors of its steps, each once.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TypeVar, assert_never

from streamer.core.backoff import BackoffPolicy, delay
from streamer.core.checkpoint import Checkpoint, Completed
from streamer.core.inputs import Ended, LookedAt, Overflowed, Refused
from streamer.core.schedule import (
    Add,
    AskTime,
    AwaitSignal,
    Begin,
    LookAgain,
    Poll,
    Publish,
    Sleep,
    Step,
    next_step,
)
from streamer.core.states import Idle, Stopped
from streamer.errors import (
    AccessRefusedError,
    ExportLostError,
    NotOwnerError,
    ProducerLostError,
    RetriableError,
)
from streamer.metrics import StreamMetrics
from streamer.model import ExportId, StreamKey
from streamer.service.asking import LOOK_AGAIN, Asking, AskSettings, Exports, Polls
from streamer.service.clock import Clock
from streamer.service.erasing import Erasing
from streamer.service.heeding import Heeding
from streamer.service.progress import Inbox, Progress
from streamer.service.publishing import ExportPublisher, TooManyDeadLettersError
from streamer.service.replaying import Replaying
from streamer.service.session import Session
from streamer.service.shard import Sessions

R = TypeVar("R")

_NEW_EXPORT = BackoffPolicy(base=5.0, ceiling=3600.0)
_LONGEST_SLEEP = timedelta(minutes=1)


class Stream:
    """The life of one stream in this replica.

    ``once`` ends it after one completed export (of a ledger: when its chain is in step), or as soon as it is stopped
    or paused.
    """

    def __init__(
        self,
        key: StreamKey,
        *,
        exports: Exports,
        polls: Polls,
        publisher: ExportPublisher,
        settings: AskSettings,
        clock: Clock,
        metrics: StreamMetrics,
        inbox: Inbox,
        replaying: Replaying | None = None,
        erasing: Erasing | None = None,
        once: bool = False,
    ) -> None:
        self.key = key
        self.done: Checkpoint | None = None
        """With ``once``: the checkpoint that the stream ended with, or one made up to say why it was left alone."""
        self._exports = exports
        self._publisher = publisher
        self._cadence = settings.cadence
        self._clock = clock
        self._metrics = metrics
        self._once = once
        self._progress = Progress(key, clock=clock, metrics=metrics, inbox=inbox)
        self._asking = Asking(self._progress, exports=exports, polls=polls, settings=settings, clock=clock)
        self._heeding = Heeding(self._progress, clock=clock, metrics=metrics, replaying=replaying, erasing=erasing)
        self._log = self._progress.log
        self._publishing: ExportId | None = None

    def renew(self) -> None:
        """Told when a secret was replaced: a stream that is stopped, most likely over the old one, tries again."""
        self._progress.renewed.set()

    async def run(self, sessions: Sessions) -> None:
        """Live until the daemon stops (or, with ``once``, until the export is done)."""
        while not self._over():
            session = await self._clock.unless_stopping(sessions.next())
            if session is None:
                return
            checkpoint = session.checkpoint(self.key)
            if checkpoint is None:
                await self._leave_alone(session)
                continue
            self._progress.tell(checkpoint)
            if self._once and self._is_done(checkpoint):
                # The commit that completed the export took effect, only its answer was lost.
                self.done = checkpoint
                return
            # A pending poll belonged to the session that is over; what holds now is only known by asking.
            self._asking.poll_at_once()
            try:
                await self._live(session, checkpoint)
            except ProducerLostError as error:
                self._log.info("stream_reads_back", reason=str(error))

    async def _leave_alone(self, session: Session) -> None:
        """The checkpoint can't be read, most likely a newer version's: touch nothing, and raise the alarm."""
        problem = session.problem(self.key)
        self._log.error("stream_left_alone", problem=problem)
        self._metrics.entered("unreadable")
        self._metrics.stopped(True)
        self._metrics.blocked(timedelta())
        if self._once:
            now = self._clock.now()
            self.done = Checkpoint(state=Stopped(reason=problem, since=now, look_at=now, before=Idle()))
            return
        await self._clock.unless_stopping(session.lost.wait())

    async def _live(self, session: Session, checkpoint: Checkpoint) -> None:
        while not self._over() and not session.lost.is_set():
            checkpoint = await self._heed(session, checkpoint)
            if self._progress.renewed.is_set():
                # In whatever state: one that was heard of in none would shorten every wait, and end a later stop.
                self._progress.renewed.clear()
                if isinstance(checkpoint.state, Stopped):
                    checkpoint = await self._progress.save(session, checkpoint, LookedAt())
            try:
                moved = await self._carry_out(session, checkpoint)
            except AccessRefusedError as error:
                self._log.error("stream_stopped", reason=str(error))
                current = session.checkpoint(self.key) or checkpoint
                refused = Refused(str(error), self._clock.now() + LOOK_AGAIN)
                moved = await self._progress.save(session, current, refused)
            except TooManyDeadLettersError as error:
                self._log.error("stream_stopped", reason=str(error))
                look_at = self._clock.now() + self._cadence.snapshot_interval
                current = session.checkpoint(self.key) or checkpoint
                moved = await self._progress.save(session, current, Overflowed(str(error), look_at))
                self._metrics.export_ended("failed")
            except ExportLostError as error:
                moved = await self._give_up_export(session, checkpoint, error)
            except (RetriableError, NotOwnerError) as error:
                await self._progress.wait_after(session, error)
                # What was committed on the way is in the session; the step's own result is lost with the error.
                moved = session.checkpoint(self.key) or checkpoint
            checkpoint = moved

    async def _heed(self, session: Session, checkpoint: Checkpoint) -> Checkpoint:
        heeded = await self._heeding.heed(session, checkpoint)
        self._asking.heeded(checkpoint, heeded)
        return heeded

    async def _carry_out(self, session: Session, checkpoint: Checkpoint) -> Checkpoint:
        step: Step = next_step(
            checkpoint, now=self._clock.now(), server_now=self._exports.server_now, cadence=self._cadence
        )
        match step:
            case Sleep() | AwaitSignal():
                await self._sleep(session, checkpoint, step)
                return checkpoint
            case AskTime():
                await self._asking.ask_time(session, step.export_id)
                return checkpoint
            case Begin():
                return await self._asking.intend(session, checkpoint, step.due)
            case Add():
                return await self._asking.add(session, checkpoint, step.state)
            case Poll():
                return await self._asking.poll(session, checkpoint, step.state)
            case Publish():
                self._publishing = step.state.export_id
                return await self._publish(session, checkpoint)
            case LookAgain():
                return await self._progress.save(session, checkpoint, LookedAt())
            case _:
                assert_never(step)

    async def _sleep(self, session: Session, checkpoint: Checkpoint, step: Sleep | AwaitSignal) -> None:
        """Until it is time; a lost session ends it too, so that the stream is there when the next one comes."""
        if self._once and (isinstance(step, AwaitSignal) or isinstance(checkpoint.state, Stopped)):
            self.done = checkpoint
            return
        wait = _LONGEST_SLEEP
        if isinstance(step, Sleep):
            # At most a minute at once: the wall clock, which the schedule goes by, may be set.
            wait = min(step.until - self._clock.now(), wait)
        await self._progress.rest(session, wait.total_seconds())

    async def _publish(self, session: Session, checkpoint: Checkpoint) -> Checkpoint:
        ends = checkpoint.ends

        async def follow(committed: Checkpoint) -> Checkpoint:
            nonlocal ends
            if ends and not committed.ends and committed.error:
                self._log.error("topic_lost", reason=committed.error.message)
                self._metrics.topic_lost()
                self._metrics.export_ended("failed")
            ends = committed.ends
            return await self._heeding.heed(session, self._progress.moved(committed))

        away = asyncio.Event()
        watch = asyncio.create_task(self._heeding.call_away(away), name=f"signals of {self.key}")
        try:
            published = await self._publisher.publish(session, checkpoint, follow, away)
        finally:
            watch.cancel()
        if self._is_completed(published):
            self._metrics.export_ended("completed")
            if self._once and self._is_done(published):
                self.done = published
        return published

    def _is_completed(self, checkpoint: Checkpoint) -> Completed | None:
        """What is remembered of the export that this replica has last published, if it is complete."""
        remembered = (checkpoint.snapshot, checkpoint.window)
        return next((done for done in remembered if done and done.export_id == self._publishing), None)

    def _is_done(self, checkpoint: Checkpoint) -> bool:
        """Whether nothing is left to do for ``streamer once``."""
        completed = self._is_completed(checkpoint)
        return completed is not None and not completed.partial

    async def _give_up_export(self, session: Session, checkpoint: Checkpoint, error: ExportLostError) -> Checkpoint:
        """Say that the export came to nothing; a new one follows after a wait."""
        current = session.checkpoint(self.key) or checkpoint
        wait = delay(_NEW_EXPORT, current.failures + 1, random=self._clock.dice)
        self._log.warning("export_given_up", reason=error.reason, seconds=round(wait, 1))
        self._metrics.export_ended("expired" if error.expired else "failed")
        not_before = self._clock.now() + timedelta(seconds=wait)
        return await self._progress.save(session, current, Ended(error.reason, not_before, expired=error.expired))

    def _over(self) -> bool:
        return self._clock.stopping.is_set() or self.done is not None
