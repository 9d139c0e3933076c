"""A stream's conversation with Mews: the request for an export until it is accepted, then the wait for its end."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from typing import Protocol, assert_never

import msgspec

from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome
from streamer.core.files import file_list, first_position
from streamer.core.inputs import Added, Blocked, Due, FiltersRefused, Ready, Refused, Retried
from streamer.core.lifecycle import transition
from streamer.core.schedule import Cadence, recut
from streamer.core.scope import Scope
from streamer.core.states import Request, Requesting, Waiting
from streamer.core.windows import Cut, cut_of_earlier_try
from streamer.errors import AddRejectedError, ExportLostError, NotAskedError, RetriableError, StreamerError
from streamer.mews.api import Accepted
from streamer.mews.polling import next_poll
from streamer.model import EntityType, Export, ExportId, ExportKind, ExportStatus, Window
from streamer.service.clock import Clock
from streamer.service.progress import Progress
from streamer.service.session import Session

INTENT_SECONDS = 5.0
"""``exports/add`` is called at most so long after its intent was committed: HTTP is not fenced, so a replica that was
frozen in between must not call. Half the session timeout where that is less: within it nobody else can take over."""

LOOK_AGAIN = timedelta(hours=1)
"""A stopped stream tries by itself that often."""

_UNKNOWN_POLLS = 5
"""Mews may not know a fresh export at once; after so many polls it is taken for expired."""

_NOBODYS = ExportId("00000000-0000-4000-8000-000000000000")
"""An id to ask for when all that is wanted is the time."""

_NAMES_FILTERS = re.compile(r"\b(Filters|UpdatedUtc|Scope)\b")
"""What a 400 says where an account may not filter; spelt as the fields are."""


class Exports(Protocol):
    """The API of one connection, as far as a stream needs it."""

    @property
    def server_now(self) -> datetime | None: ...

    async def add(
        self, entity_type: EntityType, *, window: Window | None, scope: Scope, within: float | None = None
    ) -> Accepted: ...


class Polls(Protocol):
    """Where the state of an export is asked for, together with other streams' questions."""

    async def fetch(self, export_id: ExportId) -> Export | None: ...


class AskSettings(msgspec.Struct, frozen=True):
    """What a stream asks for, and how."""

    cadence: Cadence
    scope: Scope
    poll_interval: timedelta
    blocked_pattern: re.Pattern[str]
    """What Mews' message says where an export is running; any other is waited for too, but counted apart."""
    blocked_limit: timedelta
    intent_seconds: float = INTENT_SECONDS


class _Asked(msgspec.Struct, frozen=True):
    """A call of ``exports/add`` and the intent on whose strength it was made."""

    intent: Checkpoint
    answer: asyncio.Task[Accepted]


class Asking:
    """Asks for the exports of one stream."""

    def __init__(
        self, progress: Progress, *, exports: Exports, polls: Polls, settings: AskSettings, clock: Clock
    ) -> None:
        self._progress = progress
        self._exports = exports
        self._polls = polls
        self._settings = settings
        self._clock = clock
        self._asked: _Asked | None = None
        self._intended: tuple[Checkpoint, float] | None = None
        self._poll_at = 0.0
        self._time_at = float("-inf")
        self._unknown_polls = 0

    def poll_at_once(self) -> None:
        """Forget when the next poll would be."""
        self._poll_at = self._clock.monotonic()

    def heeded(self, before: Checkpoint, after: Checkpoint) -> None:
        """A signal has moved the checkpoint. Where the request stands as it did, so does a call made for it."""
        if self._asked is not None and self._asked.intent == before and after.state == before.state:
            self._asked = msgspec.structs.replace(self._asked, intent=after)

    async def ask_time(self, session: Session, export_id: ExportId | None) -> None:
        """Hear from Mews, whose every answer tells the time. Raises ``RetriableError`` where it doesn't.

        Again only after a poll's interval: what was told goes on from there, if not for ever as fast as Mews' clock.
        """
        await self._progress.rest(session, self._time_at - self._clock.monotonic())
        if self._clock.stopping.is_set() or session.lost.is_set() or self._clock.monotonic() < self._time_at:
            return
        await self._polls.fetch(export_id or _NOBODYS)
        self._time_at = self._clock.monotonic() + self._settings.poll_interval.total_seconds()
        if self._exports.server_now is None:
            raise RetriableError(
                'Mews\' answers have no Date, by which windows are cut; exports.update_interval = "off" goes without'
            )

    async def intend(self, session: Session, checkpoint: Checkpoint, event: Due | Retried) -> Checkpoint:
        """Commit that ``exports/add`` is about to be called."""
        since = 0.0

        def decide() -> Outcome:
            # From before the commit on: a replica may also be frozen between the commit and its answer.
            nonlocal since
            since = self._clock.monotonic()
            return transition(self._progress.key, checkpoint, event, now=self._clock.now())

        intent = await self._progress.commit(session, decide)
        self._intended = (intent, since)
        return intent

    async def add(self, session: Session, checkpoint: Checkpoint, state: Requesting) -> Checkpoint:
        """Call ``exports/add`` straight after its intent, or take the answer of a call made on this very intent."""
        if self._asked is None or self._asked.intent != checkpoint:
            if self._seconds_left(self._intended_at(checkpoint)) <= 0:
                checkpoint = await self.intend(session, checkpoint, self._once_more(checkpoint, state.request))
                assert isinstance(checkpoint.state, Requesting)  # noqa: S101 (for mypy; that is what an intent is)
                state = checkpoint.state
            # An intent serves a single try: where the proof fails somebody else may act on it meanwhile, and when the
            # shard comes back only a commit tells whether somebody did.
            intended_at, self._intended = self._intended_at(checkpoint), None
            await session.prove()
            name = f"add {self._progress.key}"
            call = asyncio.create_task(self._call_add(state.request, intended_at), name=name)
            # Where nobody waits for the answer any more, its error is of no use: asyncio would complain about it.
            call.add_done_callback(lambda call: call.cancelled() or call.exception())
            self._asked = _Asked(checkpoint, call)
        try:
            # Shielded: an answer that comes while the session is lost is still the only trace of the export's id.
            accepted = await asyncio.shield(self._asked.answer)
        except AddRejectedError as error:
            self._asked = None
            return await self._rejected(session, checkpoint, state, error)
        except StreamerError:
            self._asked = None
            raise
        moved = await self._progress.save(session, checkpoint, Added(accepted.export.id, accepted.asked_at))
        self._asked = None
        self._poll_at = self._next_poll()
        return moved

    async def poll(self, session: Session, checkpoint: Checkpoint, state: Waiting) -> Checkpoint:
        """Ask how far the export is, when the time for that has come."""
        await self._progress.rest(session, self._poll_at - self._clock.monotonic())
        if self._clock.stopping.is_set() or session.lost.is_set() or self._clock.monotonic() < self._poll_at:
            return checkpoint
        export = await self._polls.fetch(state.export_id)
        self._poll_at = self._next_poll()
        self._progress.answered()
        if export is None:
            return self._unknown(checkpoint, state)
        self._unknown_polls = 0
        if state.request.adopted:
            self._check_adopted(export, state.request)
        match export.status:
            case ExportStatus.PENDING | ExportStatus.PROCESSING:
                return checkpoint
            case ExportStatus.UNKNOWN:
                self._progress.log.warning("export_status_unknown", export_id=export.id, status=export.raw_status)
                return checkpoint
            case ExportStatus.SUCCESS:
                cut = self._cut_of_adopted(export, state.request)
                ready = Ready(files=file_list(export.files), first=first_position(export.files), cut=cut)
                return await self._progress.save(session, checkpoint, ready)
            case ExportStatus.FAILED:
                raise ExportLostError("Mews reports that the export failed")
            case ExportStatus.EXPIRED:
                raise ExportLostError("the export expired before it was published", expired=True)
            case _:
                assert_never(export.status)

    def _once_more(self, checkpoint: Checkpoint, request: Request) -> Retried:
        server_now, cadence = self._exports.server_now, self._settings.cadence
        return Retried(
            scope=cadence.scope,
            cut=recut(request, checkpoint, server_now=server_now, cadence=cadence),
            server_time=server_now,
        )

    async def _call_add(self, request: Request, intended_at: float) -> Accepted:
        """The call itself; an id that comes back is logged at once, whatever becomes of it."""
        left = self._seconds_left(intended_at)
        if left <= 0:
            raise NotAskedError("the intent to call exports/add was too old by the time of the call")
        accepted = await self._exports.add(
            self._progress.key.entity_type, window=request.window, scope=self._settings.scope, within=left
        )
        self._progress.log.info("export_accepted", export_id=accepted.export.id, kind=request.kind.value)
        return accepted

    def _intended_at(self, intent: Checkpoint) -> float:
        """When this very intent was committed, on the monotonic clock; before all time where it is none of ours."""
        if self._intended is None or self._intended[0] is not intent:
            return float("-inf")
        return self._intended[1]

    def _seconds_left(self, intended_at: float) -> float:
        """How long ``exports/add`` may still be called on the strength of an intent committed then."""
        return self._settings.intent_seconds - (self._clock.monotonic() - intended_at)

    async def _rejected(
        self, session: Session, checkpoint: Checkpoint, state: Requesting, error: AddRejectedError
    ) -> Checkpoint:
        """An export of this type seems to be running, perhaps our own whose id was lost: wait for its end.

        Or the account may not filter: go without windows, which a ledger can't.
        """
        now = self._clock.now()
        since = state.blocked_since or now
        running = self._settings.blocked_pattern.search(error.reason)
        too_long = now - since > self._settings.blocked_limit
        unfiltered = state.request.kind is ExportKind.WINDOW and self._settings.cadence.has_snapshots
        if unfiltered and _NAMES_FILTERS.search(error.reason) and (too_long or not running):
            if checkpoint.filters_refused_at is None:
                self._progress.log.warning("filters_refused", reason=error.reason)
            return await self._progress.save(session, checkpoint, FiltersRefused(error.reason))
        if too_long:
            self._progress.log.error("stream_stopped", reason=error.reason, blocked_since=since.isoformat())
            refused = Refused(f"blocked for too long: {error.reason}", now + LOOK_AGAIN)
            return await self._progress.save(session, checkpoint, refused)
        blocked = await self._progress.save(session, checkpoint, Blocked(error.reason))
        await self._progress.wait_after(session, error, "ExportRunning" if running else "AddRejected")
        return blocked

    def _unknown(self, checkpoint: Checkpoint, state: Waiting) -> Checkpoint:
        self._unknown_polls += 1
        self._progress.log.warning("export_unknown", export_id=state.export_id, polls=self._unknown_polls)
        if self._unknown_polls >= _UNKNOWN_POLLS:
            self._unknown_polls = 0
            raise ExportLostError("Mews does not know the export any more", expired=True)
        return checkpoint

    def _check_adopted(self, export: Export, request: Request) -> None:
        """An id that a person has told may be that of quite another export."""
        key = self._progress.key
        if export.entity_type not in ("", key.entity_type.value):
            raise ExportLostError(f"the adopted export is of {export.entity_type}")
        if not _answers(export.window, request.window):
            raise ExportLostError("the adopted export is not of the window, or not the snapshot, that was asked for")

    def _cut_of_adopted(self, export: Export, request: Request) -> Cut | None:
        """What an adopted export covers, where that isn't what is asked for by now."""
        if not request.adopted or export.window is None or export.window == request.window:
            return None
        return cut_of_earlier_try(self._settings.cadence.windows, export.window)

    def _next_poll(self) -> float:
        return next_poll(self._clock.monotonic(), self._settings.poll_interval.total_seconds())


def _answers(window: Window | None, wanted: Window | None) -> bool:
    """Whether an export of this window answers a request, whose end moves on with each try."""
    if window is None or wanted is None:
        return window == wanted
    return window.start == wanted.start and window.end <= wanted.end
