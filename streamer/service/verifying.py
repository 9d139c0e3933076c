"""Reads the topics and proves or disproves, against the events, that every line of every export is there once.

Order matters where a daemon works meanwhile: first the ends of the topics are measured, then the events are read to
theirs, so every record below an end has its export's first event among those read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

from streamer.config import Config
from streamer.core.partition_scan import Differences, PartitionScan
from streamer.core.verification import Replayed, Told, compared, history_of, sums_up
from streamer.errors import FatalError
from streamer.kafka.scanning import TopicScanner
from streamer.kafka.topics import Topic, TopicAdmin
from streamer.model import StreamKey
from streamer.service.looking import stream_table

_decode = msgspec.json.Decoder(Told).decode

Bounds = Mapping[int, tuple[int, int]]
"""First offset that is kept and end of what is committed, by partition."""

Progress = Callable[[str, int], None]
"""Told of a topic and of how many of its records are read so far."""


class ExportVerdict(msgspec.Struct, frozen=True):
    """One completed export: what its event tells, what was found, and the first few differences.

    ``line_by_line`` false: some of its records may have been compacted away, so only what contradicts was looked for.
    """

    export_id: str
    stream: str
    kind: str
    completed_at: datetime
    records: int
    found: int
    tombstones: int
    dead_letters: int
    repeats: int
    line_by_line: bool
    differences: list[str]


class Verdict(msgspec.Struct, frozen=True):
    """All of it. ``cut_short`` counts exports that failed or expired, ``open`` those under way.

    ``differences`` are those that belong to no completed export; ``count`` is how many there are in all.
    """

    exports: list[ExportVerdict]
    records: int
    cut_short: int
    open: int
    nameless: int
    differences: list[str]
    count: int


async def verify(config: Config, streams: Sequence[StreamKey], *, now: datetime, progress: Progress) -> Verdict:
    """Read everything of these streams and compare. Raises ``KafkaUnavailableError``; ``FatalError`` without topics."""
    names = [config.topics.events, config.topics.dead_letters, *map(config.topics.entity_topic, streams)]
    admin = await TopicAdmin.connect(config)
    try:
        topics = await admin.describe(dict.fromkeys(names))
    finally:
        await admin.close()
    if config.topics.events not in topics:
        raise FatalError(f"there is no topic {config.topics.events}: nothing was ever published with this prefix")
    async with stream_table(config) as entries:
        partitions = {
            config.topics.entity_topic(key): entry.checkpoint.partitions
            for key in streams
            if (entry := entries.get(str(key))) and entry.checkpoint
        }
    async with TopicScanner(config) as scanner:
        verification = _Verification(config, streams, topics, partitions, now=now, progress=progress)
        return await verification.run(scanner)


class _Verification:
    def __init__(
        self,
        config: Config,
        streams: Sequence[StreamKey],
        topics: Mapping[str, Topic],
        partitions: Mapping[str, int | None],
        *,
        now: datetime,
        progress: Progress,
    ) -> None:
        self._topics = topics
        self._partitions = partitions
        self._progress = progress
        self._now = now
        self._events_topic = config.topics.events
        self._letters_topic = config.topics.dead_letters
        self._entity_topics = list(dict.fromkeys(map(config.topics.entity_topic, streams)))
        self._repeats = config.kafka.delivery == "at_least_once"
        self._streams = {str(key) for key in streams}
        self._sources = frozenset(key.source.encode() for key in streams)
        self._history: dict[str, list[Told]] = defaultdict(list)
        self._completed: list[Told] = []
        self._known: set[bytes] = set()
        self._replays: list[tuple[Replayed, datetime]] = []
        self._scans: dict[tuple[str, int], PartitionScan] = {}
        self._kept_since: Counter[str] = Counter()
        self._letters: Counter[str] = Counter()
        self._differences = Differences()

    async def run(self, scanner: TopicScanner) -> Verdict:
        bounds = {name: await scanner.bounds(name, topic.partitions) for name, topic in self._topics.items()}
        bounds[self._events_topic] = await scanner.bounds(
            self._events_topic, self._topics[self._events_topic].partitions
        )
        await self._read_events(scanner, bounds[self._events_topic])
        for topic in self._entity_topics:
            if topic in bounds:
                await self._read_entities(scanner, topic, bounds[topic])
        if self._letters_topic in bounds:
            await self._read_letters(scanner, bounds[self._letters_topic])
        return self._verdict()

    # -- reading ----------------------------------------------------------------------------------------------------

    async def _read_events(self, scanner: TopicScanner, bounds: Bounds) -> None:
        async for record in self._each_once(scanner, self._events_topic, bounds):
            event = _decode(record.value)
            # Also those of streams that are not looked at, or have no settings any more: of one connection and topic.
            self._known.add(event.names.encode())
            if event.stream in self._streams:
                self._replays += [(event.replayed, event.at)] if event.replayed else []
                self._history[event.stream].append(event)
        for stream, events in self._history.items():
            self._differences.extend(history_of(stream, events))
            self._completed += [event for event in events if event.event == "export_completed"]

    async def _read_letters(self, scanner: TopicScanner, bounds: Bounds) -> None:
        async for record in self._each_once(scanner, self._letters_topic, bounds):
            self._letters[_ce_id(record).partition(b"/")[0].decode()] += 1

    async def _each_once(self, scanner: TopicScanner, topic: str, bounds: Bounds) -> AsyncIterator[Any]:
        """The records of a topic that keeps them by age; one that is there again is a difference, or skipped."""
        read = 0
        seen: set[bytes] = set()
        begun: set[int] = set()
        async for partition, records in scanner.records(topic, _ends(bounds)):
            read += len(records)
            self._progress(topic, read)
            if records and partition not in begun:
                begun.add(partition)
                if bounds[partition][0] > 0:
                    # What was there before has gone by its age; of exports before that nothing can be said.
                    self._kept_since[topic] = max(self._kept_since[topic], records[0].timestamp)
            for record in records:
                ce_id = _ce_id(record)
                if ce_id not in seen:
                    seen.add(ce_id)
                    yield record
                elif not self._repeats:
                    self._differences.add(f"{topic}[{partition}]@{record.offset}: {ce_id.decode()} is there again")

    async def _read_entities(self, scanner: TopicScanner, topic: str, bounds: Bounds) -> None:
        ends = _ends(bounds)
        for event in self._completed:
            if event.topic == topic:
                for number, counts in event.partitions.items():
                    ends[int(number)] = max(ends.get(int(number), 0), counts.end)
        for partition in ends:
            self._scans[topic, partition] = PartitionScan(
                f"{topic}[{partition}]",
                partition=partition,
                partitions=self._partitions.get(topic) or self._topics[topic].partitions,
                sources=self._sources,
                known=frozenset(self._known),
                told_since=self._kept_since[self._events_topic],
                repeats=self._repeats,
                ranges=_ranges(self._completed, topic, partition),
                replayed={
                    told.offset: told.ce_id
                    for told, _ in self._replays
                    if (told.topic, told.partition) == (topic, partition)
                },
            )
        read = 0
        async for partition, records in scanner.records(topic, ends):
            self._scans[topic, partition].take(records)
            read += len(records)
            self._progress(topic, read)

    # -- comparing --------------------------------------------------------------------------------------------------

    def _verdict(self) -> Verdict:
        for told, at in self._replays:
            scan = self._scans.get((told.topic, told.partition))
            if scan and told.offset in scan.replays_missing and self._is_kept(told.topic, at):
                what = f"{told.ce_id} was replayed, and is not there"
                self._differences.add(f"{told.topic}[{told.partition}]@{told.offset}: {what}")
        exports = [self._export(event) for event in self._completed]
        for scan in self._scans.values():
            self._differences.extend(scan.differences.shown)
            self._differences.count += scan.differences.count - len(scan.differences.shown)
        ended = Counter(e.event for events in self._history.values() for e in events)
        cut_short = ended["export_failed"] + ended["export_expired"]
        return Verdict(
            exports=exports,
            records=sum(scan.seen for scan in self._scans.values()),
            cut_short=cut_short,
            open=max(0, ended["export_requested"] - ended["export_completed"] - cut_short),
            nameless=sum(scan.nameless for scan in self._scans.values()),
            differences=self._differences.shown,
            count=self._differences.count + sum(len(export.differences) for export in exports),
        )

    def _export(self, event: Told) -> ExportVerdict:
        export_id = event.export_id or ""
        differences = sums_up(event)
        found = {
            partition: tally
            for (topic, partition), scan in self._scans.items()
            if topic == event.topic and (tally := scan.tallies.get(export_id.encode()))
        }
        whole = self._is_whole(event)
        for partition in sorted({*found, *map(int, event.partitions)}):
            differences += compared(
                event.partitions.get(str(partition)),
                found.get(partition),
                place=f"{event.topic}[{partition}]",
                whole=whole,
                repeats=self._repeats,
            )
        letters = self._letters[export_id]
        kept = _milliseconds(event.requested_at) >= self._kept_since[self._letters_topic]
        if letters > event.dead_letters or (kept and letters < event.dead_letters):
            differences.append(f"{self._letters_topic}: {letters} dead letters instead of {event.dead_letters}")
        return ExportVerdict(
            export_id=export_id,
            stream=event.stream,
            kind=event.kind or "",
            completed_at=event.at,
            records=event.records,
            found=sum(tally.records for tally in found.values()),
            tombstones=event.tombstones,
            dead_letters=event.dead_letters,
            repeats=sum(tally.repeats for tally in found.values()),
            line_by_line=whole,
            differences=differences,
        )

    def _is_whole(self, event: Told) -> bool:
        """Whether every record of the export must still be there: the oldest was written after it was asked for."""
        return self._is_kept(event.topic, event.requested_at) if event.topic in self._topics else bool(event.records)

    def _is_kept(self, name: str, since: datetime) -> bool:
        """Whether all that was written to a topic since then must still be there, too young to be cleaned away."""
        topic = self._topics[name]
        kept_ms = int(topic.configs.get("min.compaction.lag.ms", "0"))
        if "compact" not in topic.configs.get("cleanup.policy", "compact"):
            kept_ms = int(topic.configs.get("retention.ms", "0"))
        # -1 keeps records for ever.
        return kept_ms < 0 or _milliseconds(since) >= _milliseconds(self._now) - kept_ms


def _ce_id(record: Any) -> bytes:
    found: bytes = dict(record.headers).get("ce_id", b"")
    return found


def _ends(bounds: Bounds) -> dict[int, int]:
    return {partition: end for partition, (_, end) in bounds.items()}


def _ranges(completed: Iterable[Told], topic: str, partition: int) -> list[tuple[int, int, bytes]] | None:
    """Which offsets belong to which export, in their order; None where two exports share some."""
    found = sorted(
        (counts.start, counts.end, (event.export_id or "").encode())
        for event in completed
        if event.topic == topic and (counts := event.partitions.get(str(partition)))
    )
    overlap = any(later[0] < earlier[1] for earlier, later in pairwise(found))
    return None if overlap else found


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
