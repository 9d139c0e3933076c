"""Signals: what a person asks of running streams, through the topic ``mews.signals``.

A signal is a JSON object, ``{"signal": "pause"}``, under the key of a stream or ``*`` for all. Each stream looks at
them in the order of the topic. What a signal does and the event that answers it are decided here, and are committed in
the one transaction that moves the stream's ``next_signal`` behind it: however often the process dies, it takes effect
once. One that makes no sense is answered too, and never does harm.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, assert_never

import msgspec

from streamer.core.checkpoint import (
    Checkpoint,
    Idle,
    Publishing,
    Reconciling,
    Requesting,
    Retired,
    Retiring,
    Stopped,
    Waiting,
    WantedSnapshot,
)
from streamer.core.events import Outcome, ReplayedLine, signal_event
from streamer.core.inputs import Abandoned, Adopted, LookedAt, TakenOut
from streamer.core.lifecycle import transition
from streamer.errors import StreamerError
from streamer.model import EntityType, ExportId, StreamKey

EVERYBODY = "*"
"""The key of a signal to all streams that are configured."""

LONGEST_SIGNAL_BYTES = 1000
"""More than any signal needs; what is longer is bad, and not kept in memory."""


class _Signal(msgspec.Struct, frozen=True, tag_field="signal", forbid_unknown_fields=True):
    pass


class SnapshotNow(_Signal, frozen=True, tag="snapshot_now"):
    """Ask for a snapshot as soon as no other export is under way; ``changes_only`` false publishes every line anew."""

    changes_only: bool = True


class WindowNow(_Signal, frozen=True, tag="window_now"):
    """Ask for a window as soon as no other export is under way, also where windows are off."""


class Pause(_Signal, frozen=True, tag="pause"):
    """Stop where the stream is, also in the middle of an export, until ``resume``."""


class Resume(_Signal, frozen=True, tag="resume"):
    """Go on where ``pause`` stopped the stream."""


class AbandonExport(_Signal, frozen=True, tag="abandon_export"):
    """Give the export under way up; what it has published stays."""


class AdoptExport(_Signal, frozen=True, tag="adopt_export"):
    """Take this export for the answer to the request that is blocked, as if Mews had just accepted it."""

    export_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]


class LetTombstonesThrough(_Signal, frozen=True, tag="let_tombstones_through"):
    """Write the tombstones of the next snapshot however many there are: those of the last were withheld."""


class Retry(_Signal, frozen=True, tag="retry"):
    """Let a stopped stream try again at once."""


class Retire(_Signal, frozen=True, tag="retire"):
    """Write tombstones for all entities of a stream that is no longer configured; ``stream`` repeats its key.

    ``shared_keys`` false: no other connection reaches any of them, whatever the settings say.
    """

    stream: str
    shared_keys: bool = True


class Replay(_Signal, frozen=True, tag="replay"):
    """Publish the line of a dead letter that would not be refused any more, as the record that it would have been.

    ``partition`` and ``offset`` say where the dead letter is in its topic.
    """

    ce_id: str
    partition: Annotated[int, msgspec.Meta(ge=0)]
    offset: Annotated[int, msgspec.Meta(ge=0)]


class Erase(_Signal, frozen=True, tag="erase"):
    """Write a tombstone for one entity, and keep it out for as long as Mews goes on sending it."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


Writes = Replay | Erase
"""What writes a record beside its answer."""

Wish = SnapshotNow | WindowNow | Pause | Resume | LetTombstonesThrough
"""What only leaves something behind in the checkpoint, to be heeded in time."""

Signal = Wish | AbandonExport | AdoptExport | Retry | Retire | Replay | Erase

NAMES = tuple(str(kind.__struct_config__.tag) for kind in Signal.__args__)
"""What can be signalled."""


class SignalError(StreamerError):
    """A signal that makes no sense, at all or to this stream as it is; the message says why."""


class SignalRecord(msgspec.Struct, frozen=True):
    """A record of the signals topic. ``value`` is None where there is none, or too much of it."""

    offset: int
    key: str
    value: bytes | None

    def is_for(self, stream: StreamKey) -> bool:
        """Whether this stream has to answer it."""
        return self.key in (EVERYBODY, str(stream))


def encode_signal(signal: Signal) -> bytes:
    """The signal as it is written to the topic."""
    return msgspec.json.encode(signal)


def parse_signal(value: bytes | None) -> Signal:
    """The signal in a record. Raises ``SignalError``, whose text repeats nothing of what is no signal."""
    if value is None:
        raise SignalError(f"a signal is a JSON object of at most {LONGEST_SIGNAL_BYTES} bytes")
    try:
        signal: Signal = msgspec.json.decode(value, type=Signal)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise SignalError(_problem(value)) from None
    return signal


def _problem(value: bytes) -> str:
    name = _name_in(value)
    if name is None:
        return f'expected a JSON object with "signal", one of {", ".join(NAMES)}'
    return f"the options of {name} are not as they should be"


def _name_in(value: bytes | None) -> str | None:
    try:
        raw = msgspec.json.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    name = raw.get("signal") if isinstance(raw, dict) else None
    return name if name in NAMES else None


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
    name = _name_in(record.value)
    answer = signal_event(stream, name, offset=record.offset, key=record.key, reason=reason, replayed=replayed, now=now)
    return Outcome(seen, (*effect.events, answer))


def calls_away(record: SignalRecord) -> bool:
    """Whether a signal wants the stream to leave the export that it is publishing."""
    try:
        return isinstance(parse_signal(record.value), Pause | AbandonExport)
    except SignalError:
        return False


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
