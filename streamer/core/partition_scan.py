"""Takes in the records of a partition, for whoever compares them with what the events say (``core.verification``).

A record says of itself, in its ``ce_id``, from which export, file and byte it comes. Within a partition the records of
one export stand in the order of their files and lines, so a repeat is a step back, and no set of ids is needed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from xxhash import xxh3_64_intdigest

from streamer.core.partitioner import partition_of

SHOWN = 20
"""So many differences of a place are kept in full; the rest is counted."""

_BEFORE_ANY = (-1, -1)


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
