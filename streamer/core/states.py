"""The states of a stream: in each of them it carries what that state needs, and nothing else.

So what makes no sense, such as a stream that is ``waiting`` without an export's id, can't be written down at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from streamer.model import ExportId, ExportKind, Window


class Request(msgspec.Struct, frozen=True):
    """What is asked of Mews. ``cycle`` counts a stream's requests, whatever became of them.

    ``changes_only`` false: a snapshot publishes every line again, also what the topic says already. ``scope`` is the
    digest of the enterprises or chains that are asked for, empty for all.

    ``covers_to`` and ``partial`` are those of the window's ``Cut``. ``server_time`` is the time at Mews, at most that
    of the call; None while Mews has not told it. ``wanted`` where a signal asked for it, and ``adopted`` where one
    named the export's id.
    """

    cycle: int
    kind: ExportKind
    requested_at: datetime
    window: Window | None = None
    changes_only: bool = True
    scope: str = ""
    covers_to: datetime | None = None
    partial: bool = False
    server_time: datetime | None = None
    wanted: bool = False
    adopted: bool = False


class FileList(msgspec.Struct, frozen=True):
    """The files of an export as they were when publishing began; never their links.

    ``digest`` covers each file's position, name and size: whether the list is still the same is one comparison.
    """

    count: int
    size: int
    digest: str


class Position(msgspec.Struct, frozen=True):
    """Where publishing goes on: the file by its index, and the byte and line at which its next line starts.

    ``name`` and ``size`` (bytes) are those of that file, empty and 0 at the end of the list.
    """

    file: int = 0
    offset: int = 0
    line: int = 0
    name: str = ""
    size: int = 0
    etag: str | None = None


class Counts(msgspec.Struct, frozen=True):
    """Running totals of an export; ``lines`` is always ``records + unchanged + dead_letters + blank + erased``."""

    size: int = 0
    lines: int = 0
    records: int = 0
    unchanged: int = 0
    dead_letters: int = 0
    blank: int = 0
    tombstones: int = 0
    erased: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class PartitionCounts(msgspec.Struct, frozen=True):
    """An export's records in one partition: how many, between which offsets, and their digest.

    ``end`` is one past the last offset. ``digest`` is the sum modulo 2**64 of xxh3-64 over key, a zero byte and
    value, as 16 hexadecimal digits.
    """

    records: int
    tombstones: int
    start: int
    end: int
    digest: str

    def __add__(self, later: PartitionCounts) -> PartitionCounts:
        """The totals after a later block of the same export."""
        digest = (int(self.digest, 16) + int(later.digest, 16)) % 2**64
        return PartitionCounts(
            records=self.records + later.records,
            tombstones=self.tombstones + later.tombstones,
            start=min(self.start, later.start),
            end=max(self.end, later.end),
            digest=f"{digest:016x}",
        )


class Idle(msgspec.Struct, frozen=True, tag_field="phase", tag="idle"):
    """No export is under way; after a failed one, of the kind ``failed``, ``not_before`` holds the next back."""

    not_before: datetime | None = None
    failed: ExportKind | None = None


class Requesting(msgspec.Struct, frozen=True, tag_field="phase", tag="requesting"):
    """``exports/add`` is about to be called, or was and its outcome is unknown.

    Committed before every single call. ``blocked_since`` is when Mews first refused because, most likely, an export
    of this type is running.
    """

    request: Request
    attempt: int = 1
    blocked_since: datetime | None = None


class Waiting(msgspec.Struct, frozen=True, tag_field="phase", tag="waiting"):
    """Mews works on the export."""

    request: Request
    export_id: ExportId


class Share(msgspec.Struct, frozen=True):
    """The partitions that a snapshot is compared with at once: from ``first`` to ``end`` (exclusive).

    ``end`` is None until it is known how many there is memory for. The others count in the shares before: ``entities``
    that the topic says to exist, those ``unseen`` in the snapshot, and those that are ``gone``, being old enough.
    """

    first: int = 0
    end: int | None = None
    entities: int = 0
    unseen: int = 0
    gone: int = 0


class Publishing(msgspec.Struct, frozen=True, tag_field="phase", tag="publishing"):
    """The export's files are being published. ``partitions`` is keyed by partition number, as text.

    ``share`` is what the position is counted in: the files are gathered once for each share. None where the export is
    not compared with its topic at all.
    """

    request: Request
    export_id: ExportId
    ready_at: datetime
    files: FileList
    position: Position = Position()
    counts: Counts = Counts()
    partitions: Mapping[str, PartitionCounts] = {}
    share: Share | None = None


class Reconciling(msgspec.Struct, frozen=True, tag_field="phase", tag="reconciling"):
    """All lines of a snapshot are published; now the ``due`` entities that it doesn't hold get their tombstones.

    That this is right was decided when the state was entered. How many have theirs is in ``counts``.
    """

    request: Request
    export_id: ExportId
    ready_at: datetime
    files: FileList
    counts: Counts
    partitions: Mapping[str, PartitionCounts]
    topic: str
    due: int


class Retiring(msgspec.Struct, frozen=True, tag_field="phase", tag="retiring"):
    """No settings have the stream any more; now its entities in ``topic`` get their tombstones, because of a signal.

    ``signal`` is the offset of that. How many have theirs is in ``partitions``.
    """

    signal: int
    begun_at: datetime
    topic: str
    partitions: Mapping[str, PartitionCounts] = {}


class Retired(msgspec.Struct, frozen=True, tag_field="phase", tag="retired"):
    """All the stream's entities have their tombstones. Where settings have it again, it begins anew."""

    at: datetime


class Stopped(msgspec.Struct, frozen=True, tag_field="phase", tag="stopped"):
    """A person must look. At ``look_at`` the stream tries by itself to go on from ``before``."""

    reason: str
    since: datetime
    look_at: datetime
    before: Idle | Requesting | Waiting | Publishing | Reconciling


Active = Idle | Requesting | Waiting | Publishing | Reconciling
State = Active | Stopped | Retiring | Retired


def phase_of(state: State) -> str:
    """The tag under which a state is written."""
    tag = type(state).__struct_config__.tag
    return str(tag)
