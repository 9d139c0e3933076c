"""Compares what the events say of each export with what the topics hold, a partition at a time.

An ``export_completed`` says for each partition how many records there are, between which offsets, and their digest;
what is there, ``core.partition_scan`` has found. What compaction may have removed can't be missed, so of older exports
it is only proved that nothing contradicts.

Neither shares code with what publishes, but for the partitioner and the words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from streamer.core.partition_scan import Tally
from streamer.core.states import PartitionCounts
from streamer.model import Window

_MODULUS = 2**64


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
