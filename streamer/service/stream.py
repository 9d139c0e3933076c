"""One stream's loop: ask the core what comes next, carry it out, commit what follows.

All decisions are pure functions of the checkpoint, of what Mews said and of the time (``core.schedule``,
``core.lifecycle``); this module waits, calls, and handles the errors of its steps, each once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Protocol, TypeVar, assert_never

import msgspec
import structlog

from streamer.core.backoff import BackoffPolicy, delay
from streamer.core.checkpoint import Checkpoint, Idle, Requesting, Stopped, Waiting
from streamer.core.files import file_list, first_position
from streamer.core.lifecycle import (
    Added,
    Blocked,
    Due,
    Ended,
    Input,
    LookedAt,
    Outcome,
    Overflowed,
    Ready,
    Refused,
    Retried,
    transition,
)
from streamer.core.schedule import (
    Add,
    Begin,
    Cadence,
    LookAgain,
    Poll,
    Publish,
    Sleep,
    Step,
    blocked_since,
    next_step,
)
from streamer.errors import (
    AccessRefusedError,
    AddRejectedError,
    ExportLostError,
    NotOwnerError,
    ProducerLostError,
    RetriableError,
    StreamerError,
)
from streamer.metrics import StreamMetrics
from streamer.mews.polling import next_poll
from streamer.model import EntityType, Export, ExportId, ExportStatus, StreamKey
from streamer.service.clock import Clock
from streamer.service.publishing import ExportPublisher, TooManyDeadLettersError
from streamer.service.session import Session
from streamer.service.shard import Sessions

log = structlog.get_logger()

R = TypeVar("R")

INTENT_SECONDS = 5.0
"""``exports/add`` is called at most so long after its intent was committed: HTTP is not fenced, so a replica that was
frozen in between must not call. Half the session timeout where that is less: within it nobody else can take over."""

LOOK_AGAIN = timedelta(hours=1)
"""A stopped stream tries by itself that often."""

_RETRY = BackoffPolicy(base=1.0, ceiling=300.0)
_NEW_EXPORT = BackoffPolicy(base=5.0, ceiling=3600.0)
_LONGEST_SLEEP = timedelta(minutes=1)
_UNKNOWN_POLLS = 5
"""Mews may not know a fresh export at once; after so many polls it is taken for expired."""


class Exports(Protocol):
    """The API of one connection, as far as a stream needs it."""

    async def add_snapshot(self, entity_type: EntityType, *, within: float | None = None) -> Export: ...


class Polls(Protocol):
    """Where the state of an export is asked for, together with other streams' questions."""

    async def fetch(self, export_id: ExportId) -> Export | None: ...


class StreamSettings(msgspec.Struct, frozen=True):
    """The numbers a stream goes by."""

    cadence: Cadence
    poll_interval: timedelta
    blocked_pattern: re.Pattern[str]
    """What Mews' message says where an export is running; any other is waited for too, but counted apart."""
    blocked_limit: timedelta
    snapshot_interval: timedelta
    intent_seconds: float = INTENT_SECONDS


class _Asked(msgspec.Struct, frozen=True):
    """A call of ``exports/add`` and the intent on whose strength it was made."""

    intent: Checkpoint
    answer: asyncio.Task[Export]


class Stream:
    """The life of one stream in this replica.

    ``once`` ends it after one completed export, or as soon as it is stopped.
    """

    def __init__(
        self,
        key: StreamKey,
        *,
        exports: Exports,
        polls: Polls,
        publisher: ExportPublisher,
        settings: StreamSettings,
        clock: Clock,
        metrics: StreamMetrics,
        once: bool = False,
    ) -> None:
        self.key = key
        self.done: Checkpoint | None = None
        """With ``once``: the checkpoint that the stream ended with, or one made up to say why it was left alone."""
        self._exports = exports
        self._polls = polls
        self._publisher = publisher
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._once = once
        self._log = log.bind(connection=key.connection, entity_type=key.entity_type.value)
        self._asked: _Asked | None = None
        self._intended: tuple[Checkpoint, float] | None = None
        self._publishing: ExportId | None = None
        self._poll_at = 0.0
        self._unknown_polls = 0
        self._troubles = 0

    async def run(self, sessions: Sessions) -> None:
        """Live until the daemon stops (or, with ``once``, until the export is done)."""
        while not self._over():
            session = await self._unless_stopping(sessions.next())
            if session is None:
                return
            checkpoint = session.checkpoint(self.key)
            if checkpoint is None:
                await self._leave_alone(session)
                continue
            self._tell(checkpoint)
            if self._once and checkpoint.snapshot and checkpoint.snapshot.export_id == self._publishing:
                # The commit that completed the export took effect, only its answer was lost.
                self.done = checkpoint
                return
            # A pending poll belonged to the session that is over; what holds now is only known by asking.
            self._poll_at = self._clock.monotonic()
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
        await self._unless_stopping(session.lost.wait())

    async def _live(self, session: Session, checkpoint: Checkpoint) -> None:
        while not self._over() and not session.lost.is_set():
            try:
                moved = await self._carry_out(session, checkpoint)
            except AccessRefusedError as error:
                self._log.error("stream_stopped", reason=str(error))
                moved = await self._stop(session, checkpoint, str(error))
            except TooManyDeadLettersError as error:
                self._log.error("stream_stopped", reason=str(error))
                look_at = self._clock.now() + self._settings.snapshot_interval
                current = session.checkpoint(self.key) or checkpoint
                moved = await self._save(session, current, Overflowed(str(error), look_at))
                self._metrics.export_ended("failed")
            except ExportLostError as error:
                moved = await self._give_up_export(session, checkpoint, error)
            except (RetriableError, NotOwnerError) as error:
                await self._wait_after(error)
                # What was committed on the way is in the session; the step's own result is lost with the error.
                moved = session.checkpoint(self.key) or checkpoint
            checkpoint = moved

    async def _carry_out(self, session: Session, checkpoint: Checkpoint) -> Checkpoint:
        step: Step = next_step(checkpoint, now=self._clock.now(), cadence=self._settings.cadence)
        match step:
            case Sleep():
                if self._once and isinstance(checkpoint.state, Stopped):
                    self.done = checkpoint
                else:
                    await self._sleep(session, step)
                return checkpoint
            case Begin():
                return await self._intend(session, checkpoint, step.due)
            case Add():
                return await self._add(session, checkpoint, step.state)
            case Poll():
                return await self._poll(session, checkpoint, step.state)
            case Publish():
                self._publishing = step.state.export_id
                return await self._publish(session, checkpoint)
            case LookAgain():
                return await self._save(session, checkpoint, LookedAt())
            case _:
                assert_never(step)

    async def _sleep(self, session: Session, step: Sleep) -> None:
        """Until it is time; a lost session ends it too, so that the stream is there when the next one comes."""
        # At most a minute at once: the wall clock, which the schedule goes by, may be set.
        until = min(step.until, self._clock.now() + _LONGEST_SLEEP)
        waits = {
            asyncio.create_task(self._clock.rest_until(until)),
            asyncio.create_task(session.lost.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _intend(self, session: Session, checkpoint: Checkpoint, event: Due | Retried) -> Checkpoint:
        """Commit that ``exports/add`` is about to be called."""
        since = 0.0

        def decide(_offsets: object) -> Outcome:
            # From before the commit on: a replica may also be frozen between the commit and its answer.
            nonlocal since
            since = self._clock.monotonic()
            return transition(self.key, checkpoint, event, now=self._clock.now())

        intent = self._moved(await session.commit(self.key, decide))
        self._intended = (intent, since)
        return intent

    async def _add(self, session: Session, checkpoint: Checkpoint, state: Requesting) -> Checkpoint:
        """Call ``exports/add`` straight after its intent, or take the answer of a call made on this very intent."""
        if self._asked is None or self._asked.intent != checkpoint:
            if self._seconds_left(self._intended_at(checkpoint)) <= 0:
                checkpoint = await self._intend(session, checkpoint, Retried())
            # An intent serves a single try: where the proof fails somebody else may act on it meanwhile, and when the
            # shard comes back only a commit tells whether somebody did.
            intended_at, self._intended = self._intended_at(checkpoint), None
            await session.prove()
            call = asyncio.create_task(self._call_add(intended_at), name=f"add {self.key}")
            # Where nobody waits for the answer any more, its error is of no use: asyncio would complain about it.
            call.add_done_callback(lambda call: call.cancelled() or call.exception())
            self._asked = _Asked(checkpoint, call)
        try:
            # Shielded: an answer that comes while the session is lost is still the only trace of the export's id.
            export = await asyncio.shield(self._asked.answer)
        except AddRejectedError as error:
            self._asked = None
            return await self._blocked(session, checkpoint, state, error)
        except StreamerError:
            self._asked = None
            raise
        moved = await self._save(session, checkpoint, Added(export.id))
        self._asked = None
        self._poll_at = self._next_poll()
        return moved

    async def _call_add(self, intended_at: float) -> Export:
        """The call itself; an id that comes back is logged at once, whatever becomes of it."""
        left = self._seconds_left(intended_at)
        if left <= 0:
            raise RetriableError("the intent to call exports/add was too old by the time of the call", retry_after=0.0)
        export = await self._exports.add_snapshot(self.key.entity_type, within=left)
        self._log.info("export_accepted", export_id=export.id)
        return export

    def _intended_at(self, intent: Checkpoint) -> float:
        """When this very intent was committed, on the monotonic clock; before all time where it is none of ours."""
        if self._intended is None or self._intended[0] is not intent:
            return float("-inf")
        return self._intended[1]

    def _seconds_left(self, intended_at: float) -> float:
        """How long ``exports/add`` may still be called on the strength of an intent committed then."""
        return self._settings.intent_seconds - (self._clock.monotonic() - intended_at)

    async def _blocked(
        self, session: Session, checkpoint: Checkpoint, state: Requesting, error: AddRejectedError
    ) -> Checkpoint:
        """An export of this type seems to be running, perhaps our own whose id was lost: wait for its end."""
        now = self._clock.now()
        since = state.blocked_since or now
        if now - since > self._settings.blocked_limit:
            self._log.error("stream_stopped", reason=error.reason, blocked_since=since.isoformat())
            return await self._stop(session, checkpoint, f"blocked for too long: {error.reason}")
        blocked = await self._save(session, checkpoint, Blocked(error.reason))
        running = self._settings.blocked_pattern.search(error.reason)
        await self._wait_after(error, "ExportRunning" if running else "AddRejected")
        return blocked

    async def _poll(self, session: Session, checkpoint: Checkpoint, state: Waiting) -> Checkpoint:
        await self._clock.rest(self._poll_at - self._clock.monotonic())
        if self._clock.stopping.is_set() or session.lost.is_set():
            return checkpoint
        export = await self._polls.fetch(state.export_id)
        self._poll_at = self._next_poll()
        self._troubles = 0
        if export is None:
            self._unknown_polls += 1
            self._log.warning("export_unknown", export_id=state.export_id, polls=self._unknown_polls)
            if self._unknown_polls >= _UNKNOWN_POLLS:
                self._unknown_polls = 0
                raise ExportLostError("Mews does not know the export any more", expired=True)
            return checkpoint
        self._unknown_polls = 0
        match export.status:
            case ExportStatus.PENDING | ExportStatus.PROCESSING:
                return checkpoint
            case ExportStatus.UNKNOWN:
                self._log.warning("export_status_unknown", export_id=export.id, status=export.raw_status)
                return checkpoint
            case ExportStatus.SUCCESS:
                ready = Ready(files=file_list(export.files), first=first_position(export.files))
                return await self._save(session, checkpoint, ready)
            case ExportStatus.FAILED:
                raise ExportLostError("Mews reports that the export failed")
            case ExportStatus.EXPIRED:
                raise ExportLostError("the export expired before it was published", expired=True)
            case _:
                assert_never(export.status)

    async def _publish(self, session: Session, checkpoint: Checkpoint) -> Checkpoint:
        published = await self._publisher.publish(session, checkpoint, self._moved)
        if isinstance(published.state, Idle):
            self._metrics.export_ended("completed")
            self.done = published if self._once else None
        return published

    async def _give_up_export(self, session: Session, checkpoint: Checkpoint, error: ExportLostError) -> Checkpoint:
        """Say that the export came to nothing; a new one follows after a wait."""
        current = session.checkpoint(self.key) or checkpoint
        wait = delay(_NEW_EXPORT, current.failures + 1, random=self._clock.dice)
        self._log.warning("export_given_up", reason=error.reason, seconds=round(wait, 1))
        self._metrics.export_ended("expired" if error.expired else "failed")
        not_before = self._clock.now() + timedelta(seconds=wait)
        return await self._save(session, current, Ended(error.reason, not_before, expired=error.expired))

    async def _stop(self, session: Session, checkpoint: Checkpoint, reason: str) -> Checkpoint:
        current = session.checkpoint(self.key) or checkpoint
        return await self._save(session, current, Refused(reason, self._clock.now() + LOOK_AGAIN))

    async def _save(self, session: Session, checkpoint: Checkpoint, event: Input) -> Checkpoint:
        """Commit the transition alone, without records."""

        def decide(_offsets: object) -> Outcome:
            return transition(self.key, checkpoint, event, now=self._clock.now())

        return self._moved(await session.commit(self.key, decide))

    def _moved(self, checkpoint: Checkpoint) -> Checkpoint:
        """Every committed checkpoint passes here: it is progress."""
        self._tell(checkpoint)
        if not isinstance(checkpoint.state, Requesting):
            self._troubles = 0
        return checkpoint

    def _tell(self, checkpoint: Checkpoint) -> None:
        """The metrics that say where the stream is."""
        since = blocked_since(checkpoint)
        self._metrics.entered(checkpoint.phase)
        self._metrics.stopped(isinstance(checkpoint.state, Stopped))
        self._metrics.blocked(self._clock.now() - since if since else timedelta())

    async def _wait_after(
        self, error: RetriableError | AddRejectedError | NotOwnerError, counted_as: str | None = None
    ) -> None:
        """Log the trouble, count it under its name, and wait: longer each time until something is committed again."""
        self._troubles += 1
        reason = counted_as or type(error).__name__
        wished = error.retry_after if isinstance(error, RetriableError) else None
        wait = delay(_RETRY, self._troubles, random=self._clock.dice, retry_after=wished)
        self._log.warning("step_failed", kind=reason, reason=str(error), attempt=self._troubles, seconds=round(wait, 1))
        self._metrics.retried(reason)
        await self._clock.rest(wait)

    def _next_poll(self) -> float:
        return next_poll(self._clock.monotonic(), self._settings.poll_interval.total_seconds())

    def _over(self) -> bool:
        return self._clock.stopping.is_set() or self.done is not None

    async def _unless_stopping(self, call: Coroutine[Any, Any, R]) -> R | None:
        """What ``call`` returns, or None where the daemon is to stop first."""
        waiting = asyncio.create_task(call)
        stopping = asyncio.create_task(self._clock.stopping.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else None
        finally:
            waiting.cancel()
            stopping.cancel()
