"""What comes of a signal.

Each stream looks at signals in the order of their topic. What a signal does and the event that answers it are decided
here, and are committed in the one transaction that moves the stream's ``next_signal`` behind it: however often the
process dies, it takes effect once. One that makes no sense is answered too, and never does harm.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

import msgspec

from streamer.core.checkpoint import Checkpoint, WantedSnapshot
from streamer.core.events import Outcome, ReplayedLine, signal_event
from streamer.core.inputs import Abandoned, Adopted, LookedAt, TakenOut
from streamer.core.lifecycle import transition
from streamer.core.signals import (
    EVERYBODY,
    AbandonExport,
    AdoptExport,
    Erase,
    LetTombstonesThrough,
    Pause,
    Replay,
    Resume,
    Retire,
    Retry,
    Signal,
    SignalError,
    SignalRecord,
    SnapshotNow,
    WindowNow,
    Wish,
    Writes,
    name_in,
    parse_signal,
)
from streamer.core.states import Idle, Publishing, Reconciling, Requesting, Retired, Retiring, Stopped, Waiting
from streamer.model import EntityType, ExportId, StreamKey


def heed(stream: StreamKey, checkpoint: Checkpoint, record: SignalRecord, *, now: datetime) -> Outcome:
    """What to commit for a signal: its effect, its answer, and that the stream has seen it. For a configured stream."""
    try:
        effect = _effect(stream, checkpoint, parse_signal(record.value), now=now)
        reason = None
    except SignalError as error:
        effect, reason = Outcome(checkpoint), str(error)
    return answered(stream, record, effect, reason, now=now)


class Remains(msgspec.Struct, frozen=True):
    """What a stream without settings has left, as far as its retirement goes by that.

    ``topic`` is where its entities are. ``shared_keys``: others may reach the same ones. ``tellable``: its records can
    be told from those of others.
    """

    topic: str
    shared_keys: bool
    tellable: bool


def heed_unconfigured(
    stream: StreamKey, checkpoint: Checkpoint, record: SignalRecord, remains: Remains, *, now: datetime
) -> Outcome:
    """The same as ``heed``, for a stream that no settings have: all that can be done with it is to retire it."""
    try:
        signal = parse_signal(record.value)
        if not isinstance(signal, Retire):
            raise SignalError("there is no such stream in the settings")
        _check_retirement(stream, checkpoint, signal, remains)
        effect = transition(stream, checkpoint, TakenOut(record.offset, remains.topic), now=now)
        reason = None
    except SignalError as error:
        effect, reason = Outcome(checkpoint), str(error)
    return answered(stream, record, effect, reason, now=now)


def _check_retirement(stream: StreamKey, checkpoint: Checkpoint, signal: Retire, remains: Remains) -> None:
    if signal.stream != str(stream):
        raise SignalError('"stream" has to repeat the key')
    if isinstance(checkpoint.state, Retiring):
        raise SignalError("the stream is being retired already")
    if not remains.tellable:
        raise SignalError(f"records in {remains.topic} have no headers, so nobody can tell which are of this stream")
    if remains.shared_keys and signal.shared_keys:
        raise SignalError(
            f'other connections may have the same keys in {remains.topic}; where none has, add "shared_keys": false'
        )


def writes_in(checkpoint: Checkpoint, record: SignalRecord) -> Writes | None:
    """The signal, if it wants a record written and the stream may do that as it is.

    Not amid an export, whose records would not lie together any more: ``heed`` has the answer then.
    """
    try:
        signal = parse_signal(record.value)
    except SignalError:
        return None
    return signal if isinstance(signal, Writes) and record.key != EVERYBODY and not _is_amid(checkpoint) else None


def _is_amid(checkpoint: Checkpoint) -> bool:
    state = checkpoint.state.before if isinstance(checkpoint.state, Stopped) else checkpoint.state
    return isinstance(state, Publishing | Reconciling)


def answered(
    stream: StreamKey,
    record: SignalRecord,
    effect: Outcome,
    reason: str | None,
    *,
    replayed: ReplayedLine | None = None,
    now: datetime,
) -> Outcome:
    """The effect of a signal with its answer; ``reason`` says why there is none."""
    seen = msgspec.structs.replace(effect.checkpoint, next_signal=record.offset + 1)
    name = name_in(record.value)
    answer = signal_event(stream, name, offset=record.offset, key=record.key, reason=reason, replayed=replayed, now=now)
    return Outcome(seen, (*effect.events, answer))


def _effect(stream: StreamKey, checkpoint: Checkpoint, signal: Signal, *, now: datetime) -> Outcome:
    match signal:
        case SnapshotNow() | WindowNow() | Pause() | Resume() | LetTombstonesThrough():
            return Outcome(msgspec.structs.replace(checkpoint, **_left_behind(stream, checkpoint, signal)))
        case AbandonExport():
            return _abandoned(stream, checkpoint, now=now)
        case AdoptExport():
            return _adopted(stream, checkpoint, ExportId(signal.export_id), now=now)
        case Retry():
            if not isinstance(checkpoint.state, Stopped):
                raise SignalError("the stream is not stopped")
            return transition(stream, checkpoint, LookedAt(), now=now)
        case Retire():
            raise SignalError("the stream is still configured")
        case Replay() | Erase():
            raise SignalError(
                "an export is being published; ask again when it is over" if _is_amid(checkpoint) else "name one stream"
            )
        case _:
            assert_never(signal)


def _left_behind(stream: StreamKey, checkpoint: Checkpoint, signal: Wish) -> dict[str, object]:
    """What a signal that doesn't change the state leaves in the checkpoint."""
    match signal:
        case SnapshotNow():
            _check_has_snapshots(stream)
            wanted = checkpoint.wanted_snapshot or WantedSnapshot()
            return {"wanted_snapshot": WantedSnapshot(changes_only=wanted.changes_only and signal.changes_only)}
        case WindowNow():
            if checkpoint.snapshot is None and stream.entity_type is not EntityType.LEDGER_ENTRY:
                raise SignalError("windows begin after the first snapshot, which is not completed yet")
            return {"wanted_window": True}
        case Pause():
            return {"paused": True}
        case Resume():
            return {"paused": False}
        case LetTombstonesThrough():
            _check_has_snapshots(stream)
            return {"let_tombstones_through": True}
        case _:
            assert_never(signal)


def _check_has_snapshots(stream: StreamKey) -> None:
    if stream.entity_type is EntityType.LEDGER_ENTRY:
        raise SignalError(f"there are no snapshots of {stream.entity_type}")


def _abandoned(stream: StreamKey, checkpoint: Checkpoint, *, now: datetime) -> Outcome:
    checkpoint = _as_it_was(stream, checkpoint, now=now)
    match checkpoint.state:
        case Waiting() | Publishing() | Reconciling():
            return transition(stream, checkpoint, Abandoned("abandoned by a signal"), now=now)
        case Requesting():
            raise SignalError("Mews has not accepted an export yet, so there is none to abandon")
        case Idle() | Stopped() | Retiring() | Retired():
            raise SignalError("no export is under way")
        case _:
            assert_never(checkpoint.state)


def _adopted(stream: StreamKey, checkpoint: Checkpoint, export_id: ExportId, *, now: datetime) -> Outcome:
    checkpoint = _as_it_was(stream, checkpoint, now=now)
    if not isinstance(checkpoint.state, Requesting):
        raise SignalError("the stream is not waiting for Mews to accept a request")
    return transition(stream, checkpoint, Adopted(export_id), now=now)


def _as_it_was(stream: StreamKey, checkpoint: Checkpoint, *, now: datetime) -> Checkpoint:
    """The checkpoint of a stopped stream as it was before; any other as it is."""
    if isinstance(checkpoint.state, Stopped):
        return transition(stream, checkpoint, LookedAt(), now=now).checkpoint
    return checkpoint
