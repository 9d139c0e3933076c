"""Compares what the events say of each export with what the topics hold, a partition at a time.

Everything rests on three facts (design, sections 1 and 3): within a partition the records of one export stand in the
order of their files and lines, so a repeat is a step back, and no set of ids is needed; an ``export_completed`` says
for each partition how many records there are, between which offsets, and their digest; and a record says of itself,
in its ``ce_id``, from which export, file and byte it comes. What compaction may have removed can't be missed, so of
older exports it is only proved that nothing contradicts.

It shares no code with what publishes, but for the partitioner and the words.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec
from xxhash import xxh3_64_intdigest

from streamer.core.partitioner import partition_of
from streamer.core.states import PartitionCounts
from streamer.model import Window

SHOWN = 20
"""So many differences of a place are kept in full; the rest is counted."""

_MODULUS = 2**64
_BEFORE_ANY = (-1, -1)


class Replayed(msgspec.Struct, frozen=True):
    """Where the answer to a signal tells of the record of a dead letter."""

    ce_id: str
    topic: str
    partition: int
    offset: int


class Told(msgspec.Struct, frozen=True):
    """An event, as a consumer reads it. ``kind`` is null where it is about no export.

    ``signal`` and ``offset`` are those of a signal that it answers.
    """

    event: str
    connection: str
    entity_type: str
    at: datetime
    kind: str | None = None
    export_id: str | None = None
    window: Window | None = None
    topic: str = ""
    lines: int = 0
    records: int = 0
    unchanged: int = 0
    dead_letters: int = 0
    blank: int = 0
    erased: int = 0
    tombstones: int = 0
    requested_at: datetime = datetime.min.replace(tzinfo=UTC)
    partitions: Mapping[str, PartitionCounts] = {}
    signal: str | None = None
    offset: int = 0
    replayed: Replayed | None = None

    @property
    def stream(self) -> str:
        return f"{self.connection}/{self.entity_type}"

    @property
    def names(self) -> str:
        """By what records refer to it: an export's id, or the retirement or erasure that a signal has begun."""
        if self.event == "signal_applied" and self.signal in ("retire", "erase"):
            return f"{self.signal}-{self.offset}"
        return self.export_id or ""


class Seen(Protocol):
    """A record as the scan needs it; aiokafka's own fits."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Tally:
    """What was found of one export in one partition."""

    __slots__ = ("digest", "end", "place", "records", "repeats", "start", "tombstones")

    def __init__(self) -> None:
        self.records = self.tombstones = self.digest = self.repeats = 0
        self.start = self.end = -1
        self.place = _BEFORE_ANY


class Differences:
    """The first few, and how many there are."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.count = 0

    def add(self, what: str) -> None:
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(what)

    def extend(self, others: Iterable[str]) -> None:
        for other in others:
            self.add(other)


class PartitionScan:
    """Takes in the records of one partition, in their order; those of other connections are left aside.

    ``known`` are the exports that the events tell of, ``told_since`` from when on they tell of all (milliseconds since
    1970). With ``repeats`` a record may be there again, as where delivery is at least once. ``ranges`` says which
    offsets belong to which export, for records without headers; None where they overlap. ``replayed`` are the offsets
    at which events tell of replayed dead letters, with the ``ce_id`` of each: they lie outside their exports.
    ``partitions`` is 0 where keys don't decide the partition.
    """

    def __init__(
        self,
        place: str,
        *,
        partition: int,
        partitions: int,
        sources: frozenset[bytes],
        known: frozenset[bytes],
        told_since: int,
        repeats: bool = False,
        ranges: Sequence[tuple[int, int, bytes]] | None = None,
        replayed: Mapping[int, str] | None = None,
    ) -> None:
        self.tallies: dict[bytes, Tally] = {}
        self.differences = Differences()
        self.seen = 0
        self.nameless = 0
        self._place = place
        self._partition = partition
        self._partitions = partitions
        self._sources = sources
        self._known = known
        self._told_since = told_since
        self._repeats = repeats
        self._ranges = ranges or ()
        self.replays_missing = dict(replayed or {})
        self._starts = [start for start, _, _ in self._ranges]

    def take(self, records: Sequence[Seen]) -> None:
        """The next records."""
        tallies = self.tallies
        self.seen += len(records)
        for record in records:
            ce_id, source = _origin(record.headers)
            if record.offset in self.replays_missing and self._take_replayed(record, ce_id):
                continue
            if ce_id is None:
                self._take_nameless(record)
                continue
            if source not in self._sources:
                continue
            export_id, _, place = ce_id.partition(b"/")
            tally = tallies.get(export_id)
            if tally is None:
                tally = tallies[export_id] = Tally()
                self._check_known(export_id, record)
            file, _, at = place.partition(b"/")
            if file == b"gone":
                tally.tombstones += 1
            else:
                now = (int(file), int(at))
                if now <= tally.place:
                    tally.repeats += 1
                    if not self._repeats:
                        self.differences.add(f"{self._place}@{record.offset}: {ce_id.decode()} is there again")
                    continue
                tally.place = now
                tally.records += 1
            self._count(tally, record)

    def _take_replayed(self, record: Seen, ce_id: bytes | None) -> bool:
        """Whether it is the line that a person has had replayed; where there are headers, under its own name."""
        if ce_id is not None and ce_id != self.replays_missing[record.offset].encode():
            return False
        del self.replays_missing[record.offset]
        self._check_partition(record)
        return True

    def _count(self, tally: Tally, record: Seen) -> None:
        key = record.key or b""
        tally.digest += xxh3_64_intdigest(key + b"\0" + (record.value or b""))
        if tally.start < 0:
            tally.start = record.offset
        tally.end = record.offset + 1
        self._check_partition(record)

    def _check_partition(self, record: Seen) -> None:
        key = record.key or b""
        if self._partitions and partition_of(key, self._partitions) != self._partition:
            belongs = partition_of(key, self._partitions)
            self.differences.add(f"{self._place}@{record.offset}: the key belongs in partition {belongs}")

    def _take_nameless(self, record: Seen) -> None:
        """Without headers only the offset tells whose record it is; what is in no export's range can't be judged."""
        i = bisect_right(self._starts, record.offset) - 1
        if i < 0 or record.offset >= self._ranges[i][1]:
            self.nameless += 1
            return
        tally = self.tallies.setdefault(self._ranges[i][2], Tally())
        if record.value is None:
            tally.tombstones += 1
        else:
            tally.records += 1
        self._count(tally, record)

    def _check_known(self, export_id: bytes, record: Seen) -> None:
        if export_id not in self._known and record.timestamp >= self._told_since:
            what = f"{export_id.decode(errors='replace')} has records, but no event tells of it"
            self.differences.add(f"{self._place}@{record.offset}: {what}")


def _origin(headers: Sequence[tuple[str, bytes]]) -> tuple[bytes | None, bytes | None]:
    """``ce_id`` and ``ce_source``. Where streamer itself writes them they stand at 1 and 2, which saves a search."""
    if len(headers) > 2 and headers[1][0] == "ce_id" and headers[2][0] == "ce_source":
        return headers[1][1], headers[2][1]
    found = dict(headers)
    return found.get("ce_id"), found.get("ce_source")


def compared(
    claim: PartitionCounts | None, found: Tally | None, *, place: str, whole: bool, repeats: bool
) -> list[str]:
    """What contradicts in one partition of a completed export, a sentence each.

    ``whole``: nothing can have been compacted away yet. ``repeats``: delivered at least once, so that the offsets may
    be those of a repeat.
    """
    if claim is None:
        if found is None or not found.records + found.tombstones:
            return []
        return [f"{place}: {found.records + found.tombstones} records, and the event tells of none there"]
    found = found or Tally()
    differences = []
    for name, wanted, there in (
        ("records", claim.records, found.records),
        ("tombstones", claim.tombstones, found.tombstones),
    ):
        if there > wanted or (whole and there < wanted):
            differences.append(f"{place}: {there} {name} instead of {wanted}")
    all_there = (found.records, found.tombstones) == (claim.records, claim.tombstones)
    if all_there and f"{found.digest % _MODULUS:016x}" != claim.digest:
        differences.append(f"{place}: digest {found.digest % _MODULUS:016x} instead of {claim.digest}")
    if found.start >= 0 and not repeats:
        offsets, wanted_offsets = (found.start, found.end), (claim.start, claim.end)
        if found.start < claim.start or found.end > claim.end:
            differences.append(f"{place}: offsets {offsets}, beyond {wanted_offsets}")
        elif all_there and whole and offsets != wanted_offsets:
            differences.append(f"{place}: offsets {offsets} instead of {wanted_offsets}")
    return differences


def sums_up(event: Told) -> list[str]:
    """What in an ``export_completed`` contradicts itself."""
    differences = []
    parts = event.records + event.unchanged + event.dead_letters + event.blank + event.erased
    if event.lines != parts:
        differences.append(f"the event tells of {event.lines} lines, but of {parts} in its parts")
    for name in ("records", "tombstones"):
        told, sum_of = getattr(event, name), sum(getattr(counts, name) for counts in event.partitions.values())
        if told != sum_of:
            differences.append(f"the event tells of {told} {name}, but of {sum_of} in its partitions")
    return differences


def history_of(stream: str, events: Iterable[Told]) -> list[str]:
    """What in the order of a stream's events contradicts: an export ends once, and before the next begins."""
    differences: list[str] = []
    under_way: str | None = None
    ended: set[str] = set()
    for event in events:
        export_id = event.export_id or ""
        if event.event == "export_requested":
            if under_way is not None:
                differences.append(f"{stream}: {export_id} was asked for while {under_way} was under way")
            under_way = export_id
        elif event.event in ("export_completed", "export_failed", "export_expired"):
            if export_id in ended:
                differences.append(f"{stream}: {export_id} ends a second time, with {event.event}")
            ended.add(export_id)
            under_way = None
    return differences
