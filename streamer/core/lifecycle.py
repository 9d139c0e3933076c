"""The life of a stream: which state follows which, and what is told about it.

::

    idle ──Due──> requesting ──Added──> waiting ──Ready──> publishing ──Published (last)──> idle
     ^             │ Retried, Blocked     │ Ended             │ Published    (with tombstones due: reconciling)
     └─────────────┴──────────────────────┴─Ended─────────────┘
    reconciling ──Entombed (last)──> idle
    any of them ──Refused──> stopped ──LookedAt──> what it was before; publishing ──Overflowed──> stopped
    requesting ──FiltersRefused──> idle, without windows for a day
    by signals: requesting ──Adopted──> waiting; waiting, publishing ──Abandoned──> idle
    any of them ──TakenOut──> retiring ──Entombed (last)──> retired ──LookedAt──> idle, as if it had never lived
    publishing ──Published, below an offset that was published before──> idle: the topic was made anew

Rule 1: everything that changes a state is decided from here; the loops around it carry out what it says. What a block
adds is in ``core.advancing``, what an end leaves behind in ``core.ending``, how a stream retires in ``core.retiring``.
Rule 2: each arrow is one checkpoint, committed together with the events that the arrow returns.
Rule 3: every pair of state and input is decided. What a state has no arrow for is its ``never``, so that mypy refuses
this file where a state or an input is new, or an arrow is gone. It raises ``LifecycleError``: a defect, not a fault.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

import msgspec

from streamer.core.advancing import after_records, after_tombstones
from streamer.core.checkpoint import Checkpoint, LastError
from streamer.core.ending import after_abandonment, after_failure, wanted_again
from streamer.core.events import Outcome, Writer
from streamer.core.inputs import (
    Abandoned,
    Added,
    Adopted,
    Blocked,
    Due,
    Ended,
    Entombed,
    FiltersRefused,
    Input,
    LookedAt,
    OfExport,
    OfRequest,
    Overflowed,
    Published,
    Ready,
    Refused,
    Retried,
    TakenOut,
)
from streamer.core.retiring import after_entombing, after_taking_out, begun_anew
from streamer.core.states import (
    Active,
    Idle,
    Publishing,
    Reconciling,
    Request,
    Requesting,
    Retired,
    Retiring,
    State,
    Stopped,
    Waiting,
)
from streamer.core.windows import Cut
from streamer.errors import StreamerError
from streamer.model import ExportId, ExportKind, StreamKey

_Own = Due | OfRequest | OfExport | LookedAt
"""What each active state answers in its own way; to be refused or taken out is the same for all."""


class LifecycleError(StreamerError):
    """An input met a state in which it can't happen: a defect of this program."""


def transition(stream: StreamKey, checkpoint: Checkpoint, event: Input, *, now: datetime) -> Outcome:
    """The state that follows, with the events that announce it. Raises ``LifecycleError`` for an impossible pair."""
    state = checkpoint.state
    match state:
        case Stopped():
            return _from_stopped(stream, checkpoint, state, event, now=now)
        case Retiring() | Retired():
            return _from_retiring(stream, checkpoint, state, event, now=now)
        case _:
            return _from_active(stream, checkpoint, state, event, now=now)


def _from_active(stream: StreamKey, checkpoint: Checkpoint, state: Active, event: Input, *, now: datetime) -> Outcome:
    if isinstance(event, Refused):
        return Outcome(_stopped(checkpoint, event, state, now=now))
    if isinstance(event, TakenOut):
        return after_taking_out(stream, checkpoint, event, now=now)
    match state:
        case Idle():
            return _from_idle(checkpoint, state, event, now=now)
        case Requesting():
            return _from_requesting(stream, checkpoint, state, event, now=now)
        case Waiting():
            return _from_waiting(stream, checkpoint, state, event, now=now)
        case Publishing():
            return _from_publishing(stream, checkpoint, state, event, now=now)
        case Reconciling():
            return _from_reconciling(stream, checkpoint, state, event, now=now)
        case _:
            assert_never(state)


def _from_idle(checkpoint: Checkpoint, state: Idle, event: _Own, *, now: datetime) -> Outcome:
    match event:
        case Due():
            cycle = checkpoint.cycle + 1
            request = Request(cycle=cycle, requested_at=now, **msgspec.structs.asdict(event))
            # What was wanted is remembered by the request from here on.
            met = {"wanted_window": False} if event.kind is ExportKind.WINDOW else {"wanted_snapshot": None}
            return Outcome(checkpoint.moved_to(Requesting(request=request), cycle=cycle, **met))
        case _:
            never: OfRequest | OfExport | LookedAt = event
            raise _impossible(state, never)


def _from_requesting(
    stream: StreamKey, checkpoint: Checkpoint, state: Requesting, event: _Own, *, now: datetime
) -> Outcome:
    match event:
        case Retried():
            again = msgspec.structs.replace(state, request=_anew(state.request, event), attempt=state.attempt + 1)
            return Outcome(checkpoint.moved_to(again))
        case Added():
            request = state.request
            if request.server_time is None:
                request = msgspec.structs.replace(request, server_time=event.server_time)
            accepted = {"filters_refused_at": None} if request.kind is ExportKind.WINDOW else {}
            return _accepted(stream, checkpoint, request, event.export_id, now=now, **accepted)
        case Adopted():
            request = msgspec.structs.replace(state.request, adopted=True)
            return _accepted(stream, checkpoint, request, event.export_id, now=now)
        case FiltersRefused():
            # Not counted as a failure: Mews has done nothing, and a snapshot may follow at once.
            error = LastError(at=now, message=event.reason)
            return Outcome(checkpoint.moved_to(Idle(), filters_refused_at=now, error=error))
        case Blocked():
            noted = checkpoint.moved_to(
                msgspec.structs.replace(state, blocked_since=state.blocked_since or now),
                error=LastError(at=now, message=event.reason),
            )
            told = Writer(stream, state.request, None, now).export_blocked(event.reason)
            # One event for one blockage, however often Mews has to repeat itself.
            return Outcome(noted, () if state.blocked_since else (told,))
        case _:
            never: Due | OfExport | LookedAt = event
            raise _impossible(state, never)


def _from_waiting(stream: StreamKey, checkpoint: Checkpoint, state: Waiting, event: _Own, *, now: datetime) -> Outcome:
    match event:
        case Ready():
            request = _recut(state.request, event.cut)
            publishing = Publishing(
                request=request,
                export_id=state.export_id,
                ready_at=now,
                files=event.files,
                position=event.first,
            )
            ready = Writer(stream, request, state.export_id, now).export_ready(event.files.count, event.files.size)
            return Outcome(checkpoint.moved_to(publishing, error=None), (ready,))
        case Ended():
            return after_failure(stream, checkpoint, state, event, now=now)
        case Abandoned():
            return after_abandonment(stream, checkpoint, state, event, now=now)
        case _:
            never: Due | OfRequest | Published | Overflowed | Entombed | LookedAt = event
            raise _impossible(state, never)


def _from_publishing(
    stream: StreamKey, checkpoint: Checkpoint, state: Publishing, event: _Own, *, now: datetime
) -> Outcome:
    match event:
        case Published():
            return after_records(stream, checkpoint, state, event, now=now)
        case Ended():
            return after_failure(stream, checkpoint, state, event, now=now)
        case Abandoned():
            return after_abandonment(stream, checkpoint, state, event, now=now)
        case Overflowed():
            told = Writer(stream, state.request, state.export_id, now).export_failed(event.reason)
            refused = Refused(reason=event.reason, look_at=event.look_at)
            stopped = _stopped(checkpoint, refused, Idle(), now=now)
            return Outcome(msgspec.structs.replace(stopped, **wanted_again(checkpoint, state.request)), (told,))
        case _:
            never: Due | OfRequest | Ready | Entombed | LookedAt = event
            raise _impossible(state, never)


def _from_reconciling(
    stream: StreamKey, checkpoint: Checkpoint, state: Reconciling, event: _Own, *, now: datetime
) -> Outcome:
    match event:
        case Entombed():
            return after_tombstones(stream, checkpoint, state, event, now=now)
        case Abandoned():
            return after_abandonment(stream, checkpoint, state, event, now=now)
        case _:
            never: Due | OfRequest | Ready | Published | Overflowed | Ended | LookedAt = event
            raise _impossible(state, never)


def _from_stopped(stream: StreamKey, checkpoint: Checkpoint, state: Stopped, event: Input, *, now: datetime) -> Outcome:
    match event:
        case LookedAt():
            return Outcome(checkpoint.moved_to(state.before))
        case TakenOut():
            return transition(stream, checkpoint.moved_to(state.before), event, now=now)
        case _:
            never: Due | OfRequest | OfExport | Refused = event
            raise _impossible(state, never)


def _from_retiring(
    stream: StreamKey, checkpoint: Checkpoint, state: Retiring | Retired, event: Input, *, now: datetime
) -> Outcome:
    match event:
        case LookedAt():
            return begun_anew(checkpoint)
        case Entombed() if isinstance(state, Retiring):
            return after_entombing(stream, checkpoint, state, event, now=now)
        case TakenOut() if isinstance(state, Retired):
            return after_taking_out(stream, checkpoint, event, now=now)
        case _:
            never: Due | OfRequest | OfExport | Refused | TakenOut = event
            raise _impossible(state, never)


def _anew(request: Request, again: Retried) -> Request:
    """The request as it is asked for once more."""
    changes: dict[str, object] = {"scope": again.scope}
    # Of a snapshot the earliest time counts: it may be an earlier call that Mews has accepted.
    if request.server_time is None or request.kind is ExportKind.WINDOW:
        changes["server_time"] = again.server_time
    return _recut(msgspec.structs.replace(request, **changes), again.cut)


def _recut(request: Request, cut: Cut | None) -> Request:
    """The request with another window; None where it stays as it is."""
    return request if cut is None else msgspec.structs.replace(request, **msgspec.structs.asdict(cut))


def _accepted(
    stream: StreamKey,
    checkpoint: Checkpoint,
    request: Request,
    export_id: ExportId,
    *,
    now: datetime,
    **changes: object,
) -> Outcome:
    told = Writer(stream, request, export_id, now).export_requested()
    waiting = Waiting(request=request, export_id=export_id)
    return Outcome(checkpoint.moved_to(waiting, error=None, **changes), (told,))


def _stopped(checkpoint: Checkpoint, refused: Refused, before: Active, *, now: datetime) -> Checkpoint:
    stopped = Stopped(reason=refused.reason, since=now, look_at=refused.look_at, before=before)
    return checkpoint.moved_to(stopped, error=LastError(at=now, message=refused.reason))


def _impossible(state: State, event: Input) -> LifecycleError:
    return LifecycleError(f"{type(event).__name__} can't happen to a stream that is {type(state).__name__.lower()}")
