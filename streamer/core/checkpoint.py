"""A stream's checkpoint: what is known to be published and what comes next, as one JSON record.

The checkpoint is written in the same transaction as the records that it speaks of, so whoever reads it back after
starting the shard's producer knows exactly what consumers can see. Two rules keep several versions of the program
safe in one group: fields that this version doesn't know are kept and written back, and a checkpoint with a higher
``v`` than known is never touched.

A stream is in exactly one *state*, each a type of its own (``core.states``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec

from streamer.core.states import Counts, Idle, State, phase_of
from streamer.errors import StreamerError
from streamer.model import ExportId, Window

VERSION = 2
"""The highest of the checkpoint's format that this program knows. A checkpoint is of a higher one than 1 only while an
older program would do harm by going on: 2 while somebody is kept out, whom it would publish."""


class Completed(msgspec.Struct, frozen=True):
    """What is remembered of the last completed export of a kind; ``scope`` and ``partial`` as in its ``Request``.

    ``tombstones_withheld`` entities are gone but have no tombstone, because of ``withheld_why``.
    ``earlier_scope``: the topic may still hold entities of it that ``scope`` does not reach; None where it holds none.
    """

    export_id: ExportId
    requested_at: datetime
    completed_at: datetime
    counts: Counts
    window: Window | None = None
    scope: str = ""
    tombstones_withheld: int = 0
    withheld_why: str = ""
    partial: bool = False
    earlier_scope: str | None = None


class LastError(msgspec.Struct, frozen=True):
    """The newest trouble of a stream, for people; free of secrets."""

    at: datetime
    message: str


class WantedSnapshot(msgspec.Struct, frozen=True):
    """A snapshot that a signal has asked for, and that is not completed yet; ``changes_only`` as in ``Request``."""

    changes_only: bool = True


class Erased(msgspec.Struct, frozen=True):
    """That an entity was erased, at this time, by its hash with the key that has the mark ``by``.

    ``cycle`` is that of the last export that held it nevertheless, 0 where none has yet.
    """

    at: datetime
    by: str
    cycle: int = 0


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of a stream.

    ``term`` rises by one at each take-over of the shard, and ``owner`` names who took it over: the process, and the
    number of the take-over in it.
    ``partitions`` is the number of partitions of the entity topic when the stream first published to it: it stays
    in use, because more partitions would strand old versions of entities in a compacted topic. ``failures`` counts
    exports that came to nothing, in a row. ``ends`` is, by partition of the entity topic, one past the last offset that
    was ever published to: offsets only grow, so a topic that begins anew below it is another one of the same name.

    ``covered_to`` is how far the chain of windows has got, by Mews' clock: everything updated before it is published.
    ``window_span`` limits the next window after ``window_failures`` of them came to nothing in a row.
    ``filters_refused_at`` is when Mews last refused the filter: windows are not asked for until a day later.

    ``next_signal`` is the offset of the signals topic from which on this stream has to look, and ``paused``,
    ``let_tombstones_through``, ``wanted_snapshot`` and ``wanted_window`` are what earlier signals left behind: until
    another signal, until a snapshot completes, and until the wanted export begins. ``erased`` are the entities that
    signals have had erased, by hash, until a snapshot holds them no more.
    """

    term: int = 0
    owner: str = ""
    cycle: int = 0
    state: State = Idle()
    partitions: int | None = None
    ends: Mapping[str, int] = {}
    failures: int = 0
    snapshot: Completed | None = None
    window: Completed | None = None
    error: LastError | None = None
    covered_to: datetime | None = None
    window_span: timedelta | None = None
    window_failures: int = 0
    filters_refused_at: datetime | None = None
    paused: bool = False
    next_signal: int = 0
    let_tombstones_through: bool = False
    wanted_snapshot: WantedSnapshot | None = None
    wanted_window: bool = False
    erased: Mapping[str, Erased] = {}
    unknown: Mapping[str, Any] = {}
    """Fields of this record that a newer version wrote: kept as they are. Not a field of the JSON itself."""
    unknown_state: Mapping[str, Any] = {}
    """The same for the state; dropped when the phase changes, since they spoke of the phase that is over."""

    @property
    def v(self) -> int:
        """The version that a program has to know to go on from here."""
        return 2 if self.erased else 1

    @property
    def phase(self) -> str:
        """Name of the state, as in the JSON."""
        return phase_of(self.state)

    def is_overtaken_by(self, other: Checkpoint) -> bool:
        """Whether ``other`` is of a later term, or of the same one and of somebody else who was there before."""
        return self.term < other.term or (self.term == other.term and self.owner != other.owner)

    def moved_to(self, state: State, **changes: Any) -> Self:
        """The checkpoint in another state; ``changes`` are further fields."""
        kept = self.unknown_state if phase_of(state) == self.phase else {}
        return msgspec.structs.replace(self, state=state, unknown_state=kept, **changes)


class CheckpointError(StreamerError):
    """A record of the checkpoint topic can't be read by this version: the stream is left alone, with an alarm."""


_NOT_ON_THE_WIRE = ("unknown", "unknown_state")
_FIELDS = frozenset(Checkpoint.__struct_fields__) - set(_NOT_ON_THE_WIRE)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as JSON, with the unknown fields it was read with."""
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__struct_fields__ if name in _FIELDS}
    state = {**checkpoint.unknown_state, **msgspec.to_builtins(checkpoint.state)}
    return msgspec.json.encode({**checkpoint.unknown, "v": checkpoint.v, **fields, "state": state})


def decode_checkpoint(value: bytes) -> Checkpoint:
    """Read a checkpoint back. Raises ``CheckpointError`` for a higher version and for what is no checkpoint."""
    try:
        raw = msgspec.json.decode(value, type=dict[str, Any])
        version = raw.get("v")
        if type(version) is not int or version > VERSION:
            raise CheckpointError(f"checkpoint of version {version}, this program knows up to {VERSION}")
        checkpoint = msgspec.convert(raw, Checkpoint)
    # Bad UTF-8 and too deep a nesting are no errors of msgspec's own.
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise CheckpointError(f"not a checkpoint: {error}") from error
    known_of_state = {*type(checkpoint.state).__struct_fields__, "phase"}
    return msgspec.structs.replace(
        checkpoint,
        unknown={name: field for name, field in raw.items() if name not in _FIELDS and name != "v"},
        unknown_state={name: field for name, field in raw.get("state", {}).items() if name not in known_of_state},
    )
