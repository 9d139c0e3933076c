"""The life of a stream: which state follows which, and what is told about it.

::

    idle ──Due──> requesting ──Added──> waiting ──Ready──> publishing ──Published (last)──> idle
     ^             │ Retried, Blocked     │ Ended             │ Published    (with tombstones due: reconciling)
     └─────────────┴──────────────────────┴─Ended─────────────┘
    reconciling ──Entombed (last)──> idle
    any of them ──Refused──> stopped ──LookedAt──> what it was before; publishing ──Overflowed──> stopped
    requesting ──FiltersRefused──> idle, without windows for a day
    by signals: requesting ──Adopted──> waiting; waiting, publishing ──Abandoned──> idle
    publishing ──Published, below an offset that was published before──> idle: the topic was made anew

Rule 1: everything that changes a state lives here; the loops around it carry out what it says.
Rule 2: each arrow is one checkpoint, committed together with the events that the arrow returns.
Rule 3: ``transition`` names every pair of state and input. A new state or input makes mypy refuse this file until
each pair has been decided; a pair that can't happen raises ``LifecycleError``, which is a defect, not a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

import msgspec

from streamer.core.checkpoint import (
    Checkpoint,
    Completed,
    Counts,
    FileList,
    Idle,
    LastError,
    PartitionCounts,
    Position,
    Publishing,
    Reconciling,
    Request,
    Requesting,
    Share,
    State,
    Stopped,
    Waiting,
    WantedSnapshot,
)
from streamer.core.events import Event, Writer
from streamer.core.windows import Cut, span_after_failure, span_after_success
from streamer.errors import StreamerError
from streamer.model import ExportId, ExportKind, StreamKey, Window


class LifecycleError(StreamerError):
    """An input met a state in which it can't happen: a defect of this program."""


class Due(msgspec.Struct, frozen=True):
    """It is time for an export; the fields as in ``Request``."""

    kind: ExportKind
    window: Window | None = None
    changes_only: bool = True
    scope: str = ""
    covers_to: datetime | None = None
    partial: bool = False
    server_time: datetime | None = None
    wanted: bool = False


class Retried(msgspec.Struct, frozen=True):
    """``exports/add`` is about to be called once more for the same cycle, with what is true now.

    ``cut``: the window anew, with the start it had; None where it stays as it is, or for a snapshot.
    """

    scope: str = ""
    cut: Cut | None = None
    server_time: datetime | None = None


class Added(msgspec.Struct, frozen=True):
    """Mews accepted the request under this id; ``server_time`` is at most that of the call, None if unknown."""

    export_id: ExportId
    server_time: datetime | None = None


class Adopted(msgspec.Struct, frozen=True):
    """A person has told the id of the export that answers this request."""

    export_id: ExportId


class Blocked(msgspec.Struct, frozen=True):
    """Mews rejected the request, most likely because an export of this type is running; ``reason`` is its message."""

    reason: str


class FiltersRefused(msgspec.Struct, frozen=True):
    """Mews rejected the request because this account may not filter; ``reason`` is its message."""

    reason: str


class Refused(msgspec.Struct, frozen=True):
    """Nothing but a person can help; looked at again at ``look_at``."""

    reason: str
    look_at: datetime


class Ready(msgspec.Struct, frozen=True):
    """The export's files can be downloaded. ``first`` is where publishing begins."""

    files: FileList
    first: Position


class Ended(msgspec.Struct, frozen=True):
    """The export came to nothing: a new one is asked for, not before ``not_before``."""

    reason: str
    not_before: datetime
    expired: bool = False


class Abandoned(msgspec.Struct, frozen=True):
    """A person has given the export up: a new one may follow at once."""

    reason: str


class Published(msgspec.Struct, frozen=True):
    """A block of records lies in the transaction. Counts are those of the block alone.

    ``position`` is where the next block starts; ``file_ended`` that the block holds its file's last line;
    ``last`` that it holds the export's (both are true of the one empty block of an export without files).
    """

    position: Position
    counts: Counts
    partitions: Mapping[int, PartitionCounts]
    topic: str
    topic_partitions: int
    file_ended: bool = False
    last: bool = False
    share: Share | None = None
    """What the next block is compared with, if at all."""
    due: int = 0
    """With the last block: how many tombstones are to follow."""
    withheld: int = 0
    """With the last block: how many entities are gone but get no tombstone, because of ``withheld_why``."""
    withheld_why: str = ""


class Entombed(msgspec.Struct, frozen=True):
    """A block of tombstones lies in the transaction; counts are those of the block alone.

    With ``last`` the export is complete. Those that are still due are withheld then, because of ``withheld_why``.
    """

    counts: Counts
    partitions: Mapping[int, PartitionCounts]
    last: bool = False
    withheld_why: str = ""


class Overflowed(msgspec.Struct, frozen=True):
    """More lines than ``max_dead_letters`` allows can't be published: something is wrong with the whole export."""

    reason: str
    look_at: datetime


class LookedAt(msgspec.Struct, frozen=True):
    """A stopped stream tries again where it was."""


Input = (
    Due
    | Retried
    | Added
    | Adopted
    | Blocked
    | FiltersRefused
    | Refused
    | Ready
    | Ended
    | Abandoned
    | Published
    | Entombed
    | Overflowed
    | LookedAt
)


class Outcome(msgspec.Struct, frozen=True):
    """What to commit: the checkpoint, and the events that go with it."""

    checkpoint: Checkpoint
    events: tuple[Event, ...] = ()


def transition(stream: StreamKey, checkpoint: Checkpoint, event: Input, *, now: datetime) -> Outcome:
    """The state that follows, with the events that announce it. Raises ``LifecycleError`` for an impossible pair."""
    state = checkpoint.state
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
        case Stopped():
            return _from_stopped(checkpoint, state, event)
        case _:
            assert_never(state)


def _from_idle(checkpoint: Checkpoint, state: Idle, event: Input, *, now: datetime) -> Outcome:
    match event:
        case Due():
            cycle = checkpoint.cycle + 1
            request = Request(cycle=cycle, requested_at=now, **msgspec.structs.asdict(event))
            # What was wanted is remembered by the request from here on.
            met = {"wanted_window": False} if event.kind is ExportKind.WINDOW else {"wanted_snapshot": None}
            return Outcome(checkpoint.moved_to(Requesting(request=request), cycle=cycle, **met))
        case Refused():
            return Outcome(_stopped(checkpoint, event, state, now=now))
        case (
            Retried()
            | Added()
            | Adopted()
            | Blocked()
            | FiltersRefused()
            | Ready()
            | Ended()
            | Abandoned()
            | Published()
            | Entombed()
            | Overflowed()
            | LookedAt()
        ):
            raise _impossible(state, event)
        case _:
            assert_never(event)


def _from_requesting(
    stream: StreamKey, checkpoint: Checkpoint, state: Requesting, event: Input, *, now: datetime
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
        case Refused():
            return Outcome(_stopped(checkpoint, event, state, now=now))
        case Due() | Ready() | Ended() | Abandoned() | Published() | Entombed() | Overflowed() | LookedAt():
            raise _impossible(state, event)
        case _:
            assert_never(event)


def _from_waiting(stream: StreamKey, checkpoint: Checkpoint, state: Waiting, event: Input, *, now: datetime) -> Outcome:
    match event:
        case Ready():
            publishing = Publishing(
                request=state.request,
                export_id=state.export_id,
                ready_at=now,
                files=event.files,
                position=event.first,
            )
            ready = Writer(stream, state.request, state.export_id, now).export_ready(
                event.files.count, event.files.size
            )
            return Outcome(checkpoint.moved_to(publishing, error=None), (ready,))
        case Ended():
            return _ended(stream, checkpoint, state, event, now=now)
        case Abandoned():
            failed = Writer(stream, state.request, state.export_id, now).export_failed(event.reason)
            return Outcome(checkpoint.moved_to(Idle(), error=LastError(at=now, message=event.reason)), (failed,))
        case Refused():
            return Outcome(_stopped(checkpoint, event, state, now=now))
        case (
            Due()
            | Retried()
            | Added()
            | Adopted()
            | Blocked()
            | FiltersRefused()
            | Published()
            | Entombed()
            | Overflowed()
            | LookedAt()
        ):
            raise _impossible(state, event)
        case _:
            assert_never(event)


def _from_publishing(
    stream: StreamKey, checkpoint: Checkpoint, state: Publishing, event: Input, *, now: datetime
) -> Outcome:
    match event:
        case Published():
            return _published(stream, checkpoint, state, event, now=now)
        case Ended():
            return _ended(stream, checkpoint, state, event, now=now)
        case Abandoned():
            failed = Writer(stream, state.request, state.export_id, now).export_failed(event.reason)
            return Outcome(checkpoint.moved_to(Idle(), error=LastError(at=now, message=event.reason)), (failed,))
        case Overflowed():
            told = Writer(stream, state.request, state.export_id, now).export_failed(event.reason)
            refused = Refused(reason=event.reason, look_at=event.look_at)
            stopped = _stopped(checkpoint, refused, Idle(), now=now)
            return Outcome(msgspec.structs.replace(stopped, **_wanted_again(checkpoint, state.request)), (told,))
        case Refused():
            return Outcome(_stopped(checkpoint, event, state, now=now))
        case Due() | Retried() | Added() | Adopted() | Blocked() | FiltersRefused() | Ready() | Entombed() | LookedAt():
            raise _impossible(state, event)
        case _:
            assert_never(event)


def _from_reconciling(
    stream: StreamKey, checkpoint: Checkpoint, state: Reconciling, event: Input, *, now: datetime
) -> Outcome:
    match event:
        case Entombed():
            done = msgspec.structs.replace(
                state, counts=state.counts + event.counts, partitions=_plus(state.partitions, event.partitions)
            )
            ends = {**checkpoint.ends, **{str(number): counts.end for number, counts in event.partitions.items()}}
            checkpoint = checkpoint.moved_to(done, ends=ends, error=None)
            if not event.last:
                return Outcome(checkpoint)
            # One that is found nowhere any more has no record that could be taken for an entity's.
            withheld = done.due - done.counts.tombstones if event.withheld_why else 0
            return _completed(
                stream, checkpoint, done, topic=state.topic, withheld=withheld, why=event.withheld_why, now=now
            )
        case Abandoned():
            # All its lines are published, so it is complete; what is left of the tombstones is not wanted.
            return _completed(
                stream,
                checkpoint,
                state,
                topic=state.topic,
                withheld=state.due - state.counts.tombstones,
                why="abandoned",
                now=now,
            )
        case Refused():
            return Outcome(_stopped(checkpoint, event, state, now=now))
        case (
            Due()
            | Retried()
            | Added()
            | Adopted()
            | Blocked()
            | FiltersRefused()
            | Ready()
            | Ended()
            | Published()
            | Overflowed()
            | LookedAt()
        ):
            raise _impossible(state, event)
        case _:
            assert_never(event)


def _from_stopped(checkpoint: Checkpoint, state: Stopped, event: Input) -> Outcome:
    match event:
        case LookedAt():
            return Outcome(checkpoint.moved_to(state.before))
        case (
            Due()
            | Retried()
            | Added()
            | Adopted()
            | Blocked()
            | FiltersRefused()
            | Refused()
            | Ready()
            | Ended()
            | Abandoned()
            | Published()
            | Entombed()
            | Overflowed()
        ):
            raise _impossible(state, event)
        case _:
            assert_never(event)


def _anew(request: Request, again: Retried) -> Request:
    """The request as it is asked for once more."""
    changes: dict[str, object] = {"scope": again.scope}
    # Of a snapshot the earliest time counts: it may be an earlier call that Mews has accepted.
    if request.server_time is None or request.kind is ExportKind.WINDOW:
        changes["server_time"] = again.server_time
    if again.cut is not None:
        changes |= msgspec.structs.asdict(again.cut)
    return msgspec.structs.replace(request, **changes)


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


def _published(
    stream: StreamKey, checkpoint: Checkpoint, state: Publishing, event: Published, *, now: datetime
) -> Outcome:
    """A block more of the export; with its last one, the end of it."""
    lost = [number for number, counts in event.partitions.items() if counts.start < checkpoint.ends.get(str(number), 0)]
    if lost:
        return _topic_lost(stream, checkpoint, state, event.topic, min(lost), now=now)
    done = msgspec.structs.replace(
        state,
        position=event.position,
        counts=state.counts + event.counts,
        partitions=_plus(state.partitions, event.partitions),
        share=event.share,
    )
    events: tuple[Event, ...] = ()
    if event.file_ended and state.files.count:
        at = state.position
        writer = Writer(stream, state.request, state.export_id, now)
        events = (writer.file_published(file=at.file, name=at.name, size=at.size),)
    ends = {**checkpoint.ends, **{str(number): counts.end for number, counts in event.partitions.items()}}
    known_partitions = checkpoint.partitions or event.topic_partitions
    moved = checkpoint.moved_to(done, partitions=known_partitions, ends=ends, error=None)
    if not event.last:
        return Outcome(moved, events)
    if event.due:
        reconciling = Reconciling(
            request=done.request,
            export_id=done.export_id,
            ready_at=done.ready_at,
            files=done.files,
            counts=done.counts,
            partitions=done.partitions,
            topic=event.topic,
            due=event.due,
        )
        return Outcome(moved.moved_to(reconciling), events)
    completed = _completed(
        stream, moved, done, topic=event.topic, withheld=event.withheld, why=event.withheld_why, now=now
    )
    return msgspec.structs.replace(completed, events=(*events, *completed.events))


def _completed(
    stream: StreamKey,
    checkpoint: Checkpoint,
    done: Publishing | Reconciling,
    *,
    topic: str,
    withheld: int,
    why: str,
    now: datetime,
) -> Outcome:
    """The end of an export, with all that it came to."""
    request, last = done.request, checkpoint.snapshot
    is_snapshot = request.kind is ExportKind.SNAPSHOT
    compared = isinstance(done, Reconciling) or done.share is not None
    completed = Completed(
        export_id=done.export_id,
        requested_at=request.requested_at,
        completed_at=now,
        counts=done.counts,
        window=request.window,
        scope=request.scope,
        tombstones_withheld=withheld,
        withheld_why=why,
        partial=request.partial,
        # Until nothing is left in the topic that only an earlier one reached.
        earlier_scope=topic_scope(last) if last and is_snapshot and (why or not compared) else None,
    )
    if completed.earlier_scope == completed.scope:
        completed = msgspec.structs.replace(completed, earlier_scope=None)
    told = Writer(stream, request, done.export_id, now).export_completed(
        done, topic=topic, withheld=withheld, withheld_why=why
    )
    remembered = _remembered(checkpoint, request, completed)
    return Outcome(checkpoint.moved_to(Idle(), failures=0, error=None, **remembered), (told,))


def topic_scope(last: Completed) -> str:
    """The scope that the topic's entities came from, after this snapshot."""
    return last.scope if last.earlier_scope is None else last.earlier_scope


def _plus(earlier: Mapping[str, PartitionCounts], block: Mapping[int, PartitionCounts]) -> dict[str, PartitionCounts]:
    """The counts of an export's partitions with those of a block more."""
    added = {str(partition): counts for partition, counts in block.items()}
    return {
        **earlier,
        **{name: earlier[name] + counts if name in earlier else counts for name, counts in added.items()},
    }


def _remembered(checkpoint: Checkpoint, request: Request, completed: Completed) -> dict[str, object]:
    """What a completed export leaves in the checkpoint."""
    if request.kind is ExportKind.WINDOW:
        return {
            "window": completed,
            "covered_to": request.covers_to or checkpoint.covered_to,
            "window_span": span_after_success(checkpoint.window_span, partial=request.partial),
            "window_failures": 0,
        }
    # The first snapshot begins the chain of windows; after that only windows move it.
    begins = checkpoint.covered_to or (checkpoint.snapshot.requested_at if checkpoint.snapshot else None)
    return {
        "snapshot": completed,
        "covered_to": begins or request.server_time or request.requested_at,
        "let_tombstones_through": False,
    }


def _topic_lost(
    stream: StreamKey, checkpoint: Checkpoint, state: Publishing, topic: str, partition: int, *, now: datetime
) -> Outcome:
    """The topic was deleted and made anew, or has lost its end: all that was published before counts for nothing."""
    reason = f"the topic {topic} ends below what was published to its partition {partition}: it was made anew"
    anew = checkpoint.moved_to(
        Idle(),
        partitions=None,
        ends={},
        snapshot=None,
        window=None,
        covered_to=None,
        failures=checkpoint.failures + 1,
        error=LastError(at=now, message=reason),
    )
    return Outcome(anew, (Writer(stream, state.request, state.export_id, now).export_failed(reason),))


def _ended(
    stream: StreamKey, checkpoint: Checkpoint, state: Waiting | Publishing, event: Ended, *, now: datetime
) -> Outcome:
    writer = Writer(stream, state.request, state.export_id, now)
    told = writer.export_expired() if event.expired else writer.export_failed(event.reason)
    request = state.request
    changes = _wanted_again(checkpoint, request)
    if request.kind is ExportKind.WINDOW and request.window is not None:
        failures = checkpoint.window_failures + 1
        span = span_after_failure(checkpoint.window_span, checkpoint.covered_to, request.window, failures=failures)
        changes |= {"window_failures": failures, "window_span": span}
    ended = checkpoint.moved_to(
        Idle(not_before=event.not_before, failed=request.kind),
        failures=checkpoint.failures + 1,
        error=LastError(at=now, message=event.reason),
        **changes,
    )
    return Outcome(ended, (told,))


def _wanted_again(checkpoint: Checkpoint, request: Request) -> dict[str, object]:
    """What a signal has asked for goes on being wanted when its export comes to nothing."""
    if not request.wanted:
        return {}
    if request.kind is ExportKind.WINDOW:
        return {"wanted_window": True}
    later = checkpoint.wanted_snapshot or WantedSnapshot()
    return {"wanted_snapshot": WantedSnapshot(changes_only=request.changes_only and later.changes_only)}


def _stopped(
    checkpoint: Checkpoint,
    refused: Refused,
    before: Idle | Requesting | Waiting | Publishing | Reconciling,
    *,
    now: datetime,
) -> Checkpoint:
    stopped = Stopped(reason=refused.reason, since=now, look_at=refused.look_at, before=before)
    return checkpoint.moved_to(stopped, error=LastError(at=now, message=refused.reason))


def _impossible(state: State, event: Input) -> LifecycleError:
    return LifecycleError(f"{type(event).__name__} can't happen to a stream that is {type(state).__name__.lower()}")
