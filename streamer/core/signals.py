"""Signals: what a person asks of running streams, through the topic ``mews.signals``.

A signal is a JSON object, ``{"signal": "pause"}``, under the key of a stream or ``*`` for all. What comes of each is
decided in ``core.heeding``.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from streamer.errors import StreamerError

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

    def is_for(self, stream: str) -> bool:
        """Whether the stream of this key has to answer it."""
        return self.key in (EVERYBODY, stream)


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
    name = name_in(value)
    if name is None:
        return f'expected a JSON object with "signal", one of {", ".join(NAMES)}'
    return f"the options of {name} are not as they should be"


def name_in(value: bytes | None) -> str | None:
    """What a record wants to signal, as far as that can be told; None where it is nothing that can be."""
    try:
        raw = msgspec.json.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    name = raw.get("signal") if isinstance(raw, dict) else None
    return name if name in NAMES else None


def calls_away(record: SignalRecord) -> bool:
    """Whether a signal wants the stream to leave the export that it is publishing."""
    try:
        return isinstance(parse_signal(record.value), Pause | AbandonExport)
    except SignalError:
        return False
