"""What can happen to a stream, as values: everything that ever moves its state.

Made where it happens, by the loops, and by signals; what follows from it is decided in ``core.lifecycle`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from streamer.core.states import Counts, FileList, PartitionCounts, Position, Share
from streamer.core.windows import Cut
from streamer.model import ExportId, ExportKind, Window


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
    """The export's files can be downloaded. ``first`` is where publishing begins.

    ``cut`` is that of an adopted export, where its window ends before the one that is asked for by now.
    """

    files: FileList
    first: Position
    cut: Cut | None = None


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
    erased: frozenset[str] = frozenset()
    """By their hashes, the erased entities that the block would hold."""


class Entombed(msgspec.Struct, frozen=True):
    """A block of tombstones lies in the transaction; counts are those of the block alone.

    With ``last`` the export is complete, or the stream retired. Those of an export that are still due are withheld
    then, because of ``withheld_why``.
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
    """A stopped stream tries again where it was; a retired one is configured again."""


class TakenOut(msgspec.Struct, frozen=True):
    """A person has told to retire a stream that no settings have, by the signal at this offset.

    ``topic`` is where its entities are.
    """

    signal: int
    topic: str


OfRequest = Retried | Added | Adopted | Blocked | FiltersRefused
"""What becomes of a request, until an export answers it."""

OfExport = Ready | Published | Overflowed | Entombed | Ended | Abandoned
"""What becomes of an export; tombstones are also those of a retirement."""

Input = Due | OfRequest | OfExport | Refused | LookedAt | TakenOut
