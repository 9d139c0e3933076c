r"""Proves or disproves that what consumers can see is what Mews served: every line once, every promise kept.

Independent of the product on purpose: nothing of ``streamer`` is imported, so a mistake in its partitioner, its line
splitter or its digests is not repeated here. What is right is what ``docs/consumers.md`` promises.

``verify`` compares plain values, so that doctored ones can show that it is able to fail.
"""

from __future__ import annotations

import dataclasses
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.facts import Published, Record, digest_of, id_of, lines_of, murmur2, slug
from tests.facts import Served as Served

SHOWN = 8
"""So many differences are told in full; the rest is counted."""

LARGE = {"record_too_large", "line_too_long"}
"""The only reasons for which a dead letter may have less than its line."""

ENDS = {"export_completed", "export_failed", "export_expired"}


@dataclass
class Report:
    """What there was, for whoever wants to know that it was not nothing."""

    completed: int = 0
    cut_short: int = 0
    records: int = 0
    unchanged: int = 0
    tombstones: int = 0
    dead_letters: int = 0
    blank: int = 0
    size: int = 0
    terms: int = 0
    cycles: int = 0
    blocked: int = 0
    started: int = 0


@dataclass
class Export:
    """What was committed of one export."""

    stream: str
    events: list[dict[str, Any]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    letters: list[Record] = field(default_factory=list)
    tombstones: list[Record] = field(default_factory=list)
    replays: list[Record] = field(default_factory=list)
    cycles: set[int] = field(default_factory=set)

    def told(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]


def verify(
    published: Published, served: Mapping[str, Served], *, prefix: str, connection: str, unfit_is_dead: bool = False
) -> Report:
    """Compare; the report of what there was. Raises ``AssertionError`` with the first few differences.

    ``unfit_is_dead``: lines of an unexpected shape are dead letters.
    """
    verification = Verification(published, served, prefix=prefix, connection=connection)
    verification.reasons |= {"unexpected_shape"} if unfit_is_dead else set()
    verification.run()
    if found := verification.differences:
        shown = "\n".join(f"  {difference}" for difference in found[:SHOWN])
        more = f"\n  and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise AssertionError(f"{len(found)} differences between what was served and what is committed:\n{shown}{more}")
    return verification.report


class Verification:
    """The comparison itself: what was found so far is kept in ``differences`` and ``report``."""

    def __init__(self, published: Published, served: Mapping[str, Served], *, prefix: str, connection: str) -> None:
        self.differences: list[str] = []
        self.report = Report()
        self.reasons = set(LARGE)
        """The only ones for which a line with a readable Id may be a dead letter."""
        self._published = published
        self._served = served
        self._prefix = prefix
        self._connection = connection
        self._exports: dict[str, Export] = {}
        self._streams: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._open: dict[str, str] = {}
        self._types: dict[str, str] = {}
        self._event_places: dict[str, str] = {}
        self._reached: dict[str, tuple[int, int, int, int, int]] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._said: dict[tuple[str, bytes], list[Record]] = defaultdict(list)
        self._replays: dict[tuple[str, int, int], str] = {}
        self._by_cycle: dict[tuple[str, int], set[str]] = defaultdict(set)

    def run(self) -> None:
        for name in ("exports", "checkpoints", "dead-letters", *map(slug, self._entity_types())):
            for record in self._topic(name):
                self.take(record)
        self._check_histories()
        for export_id, export in self._exports.items():
            self._check_export(export_id, export)

    def take(self, record: Record) -> None:
        """Take in a record of any topic; those of a partition in their order."""
        name = record.topic.removeprefix(f"{self._prefix}.")
        if name == "exports":
            self._take_event(record)
        elif name == "checkpoints":
            self._take_checkpoint(record)
        elif name == "dead-letters":
            self._export_of(record, (record.key or b"").decode()).letters.append(record)
        else:
            export = self._export_of(record, f"{self._connection}/{self._type_of(name)}")
            told = self._replays.get((record.topic, record.partition, record.offset))
            if told is not None:
                self._equal(f"{record}: ce_id of a replay", record.header("ce_id"), told)
                export.replays.append(record)
            else:
                (export.records if record.value is not None else export.tombstones).append(record)
            self._said[name, record.key or b""].append(record)

    def _differs(self, what: str) -> None:
        self.differences.append(what)

    def _equal(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self._differs(f"{what}: {_short(found)} instead of {_short(expected)}")

    def _topic(self, name: str) -> Sequence[Record]:
        return self._published.records.get(f"{self._prefix}.{name}", ())

    def _entity_types(self) -> list[str]:
        return sorted({served.entity_type for served in self._served.values()})

    def _type_of(self, name: str) -> str:
        if name not in self._types:
            self._types |= {slug(entity_type): entity_type for entity_type in self._entity_types()}
        return self._types.get(name, name)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _export(self, export_id: str, stream: str, where: object) -> Export:
        if export_id not in self._served:
            self._differs(f"{where}: of export {export_id}, which was never served")
        return self._exports.setdefault(export_id, Export(stream))

    def _export_of(self, record: Record, stream: str) -> Export:
        return self._export(record.header("ce_id").partition("/")[0], stream, record)

    def _take_event(self, record: Record) -> None:
        event = json.loads(record.value or b"")
        stream = f"{event['connection']}/{event['entity_type']}"
        self._equal(f"{record}: key", record.key, stream.encode())
        self._check_partition(record)
        self._equal(f"{record}: ce_type", record.header("ce_type"), f"streamer.{event['event']}")
        self._equal(f"{record}: ce_source", record.header("ce_source"), f"/mews/{event['connection']}")
        earlier = self._event_places.setdefault(record.header("ce_id"), str(record))
        if earlier != str(record):
            self._differs(f"repeated: {record.header('ce_id')} at {earlier}, {record}")
        if event["event"].startswith("signal_"):
            # Answers to people, about no export; each once, as all events.
            if told := event.get("replayed"):
                self._replays[told["topic"], told["partition"], told["offset"]] = told["ce_id"]
            return
        self._streams[stream].append(event)
        if event["event"] == "export_blocked":
            self.report.blocked += 1
        else:
            self._export(event["export_id"], stream, record).events.append(event)

    def _take_checkpoint(self, record: Record) -> None:
        """The history of each stream's checkpoint has to agree with itself."""
        stream, checkpoint = (record.key or b"").decode(), json.loads(record.value or b"{}")
        state, before = checkpoint["state"], self._reached.get(stream, (0, 0, -1, -1, -1))
        # With little memory the files are published several times over, each time for a share of the partitions.
        share = (state.get("share") or {}).get("first", 0)
        position = state.get("position", {"file": -1, "offset": -1})
        now = (checkpoint["cycle"], checkpoint["term"], share, position["file"], position["offset"])
        same_export = now[0] == before[0] and min(now[3], before[3]) >= 0
        if now[1] < before[1] or now[0] < before[0] or (same_export and now[2:] <= before[2:]):
            self._differs(f"{stream}: the checkpoint went back from {before} to {now} (cycle, term, share, position)")
        self._reached[stream], self._last[stream] = now, checkpoint
        if export_id := state.get("export_id"):
            self._by_cycle[stream, checkpoint["cycle"]].add(export_id)
            self._export(export_id, stream, f"checkpoint of {stream}").cycles.add(checkpoint["cycle"])

    # -- checks over everything -------------------------------------------------------------------------------------

    def _check_histories(self) -> None:
        """The order of events, one export to a cycle, and the last checkpoint against what was published."""
        for stream, events in self._streams.items():
            self._check_order(stream, events)
        for stream, (cycle, term, *_) in self._reached.items():
            self.report.terms += term
            self.report.cycles += cycle
            self._check_last_checkpoint(stream, self._last[stream])
        for (stream, cycle), export_ids in self._by_cycle.items():
            if len(export_ids) > 1:
                self._differs(f"{stream}: cycle {cycle} has more than one export: {sorted(export_ids)}")

    def _check_repeats(self, export: Export) -> None:
        """No ``ce_id`` twice, of records and dead letters taken together."""
        places: dict[str, list[Record]] = defaultdict(list)
        for record in (*export.records, *export.letters, *export.tombstones):
            places[record.header("ce_id")].append(record)
        # A replay has the name of its dead letter, which is no record; another of that name there must not be.
        letters = {letter.header("ce_id") for letter in export.letters}
        for record in export.replays:
            ce_id = record.header("ce_id")
            if ce_id not in letters:
                self._differs(f"{record}: a replay of {ce_id}, which is no dead letter")
            places[f"the replay of {ce_id}"].append(record)
        for ce_id, found in places.items():
            if len(found) > 1:
                self._differs(f"repeated: {ce_id} at {', '.join(map(str, found))}")

    def _check_order(self, stream: str, events: Sequence[dict[str, Any]]) -> None:
        """One export after another, each from its request to its one end."""
        current: str | None = None
        begun: set[str] = set()
        at = ""
        for event in events:
            name, export_id = event["event"], event["export_id"]
            if datetime.fromisoformat(event["at"]) < datetime.fromisoformat(at or event["at"]):
                self._differs(f"{stream}: {name} of {export_id} is told as older than the event before")
            at = event["at"]
            if name in {"export_requested", "export_blocked"}:
                if current is not None:
                    self._differs(f"{stream}: {name} {export_id} while {current} was under way")
                if name == "export_requested":
                    if export_id in begun:
                        self._differs(f"{stream}: export_requested twice for {export_id}")
                    begun.add(export_id)
                    current = export_id
                continue
            if export_id != current:
                self._differs(f"{stream}: {name} of {export_id} while {current} was under way")
            if name in ENDS:
                current = None
        if current is not None:
            self._open[stream] = current

    def _check_last_checkpoint(self, stream: str, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state"]
        for kind in ("snapshot", "window"):
            told = [
                e
                for e in self._streams[stream]
                if e["event"] == "export_completed" and e.get("kind", "snapshot") == kind
            ]
            completed, last = [e["export_id"] for e in told], checkpoint.get(kind)
            what = f"{stream}: last completed export ({kind})"
            self._equal(what, last and last["export_id"], (completed or [None])[-1])
        self._equal(f"{stream}: export under way", state.get("export_id"), self._open.get(stream))
        if state["phase"] == "publishing":
            export = self._exports[state["export_id"]]
            counts = state["counts"]
            self._equal(f"{stream}: records in the checkpoint", counts["records"], len(export.records))
            self._equal(f"{stream}: dead letters in the checkpoint", counts["dead_letters"], len(export.letters))

    def _check_partition(self, record: Record) -> None:
        expected = murmur2(record.key or b"") % self._published.partitions[record.topic]
        self._equal(f"{record}: partition of {record.key!r}", record.partition, expected)

    # -- one export -------------------------------------------------------------------------------------------------

    def _check_export(self, export_id: str, export: Export) -> None:
        self._check_repeats(export)
        self._equal(f"{export_id}: cycles", len(export.cycles), 1)
        served = self._served.get(export_id)
        if served is None:
            return
        topic = f"{self._prefix}.{slug(served.entity_type)}"
        ends = [event for event in export.events if event["event"] in ENDS]
        completed = bool(ends) and ends[0]["event"] == "export_completed"
        if export.records and not export.told("export_ready"):
            self._differs(f"{export_id}: has records, but export_ready was never told")
        if not ends and export_id not in self._open.values():
            self._differs(f"{export_id}: has no end and is not under way")
        unchanged = ends[0]["unchanged"] if completed else 0
        counts = self._check_lines(export_id, export, served, topic, whole=completed, may_repeat=bool(unchanged))
        for partition, records in _by_partition(export.records).items():
            places = [_place(record) for record in records]
            if places != sorted(places):
                self._differs(f"{export_id}: out of order in {topic}[{partition}]")
        files = export.told("file_published")
        for number, (event, read) in enumerate(zip(files, served.files, strict=False)):
            self._equal(f"{export_id}: file_published number {number}", event["file"], number)
            self._equal(f"{export_id}: bytes of file {number}", event["bytes"], len(read()))
        if len(files) > len(served.files):
            self._differs(f"{export_id}: file_published {len(files)} times for {len(served.files)} files")
        if completed:
            self.report.completed += 1
            self._equal(f"{export_id}: file_published", len(files), len(served.files))
            self._check_completed(export_id, export, ends[0], counts, topic)
        else:
            self.report.cut_short += 1
        self.report.started += bool(export.records)

    def _check_lines(
        self, export_id: str, export: Export, served: Served, topic: str, *, whole: bool, may_repeat: bool
    ) -> dict[str, int]:
        """Every line against what became of it; all of them where the export is whole.

        One that became nothing has to be what the topic said already, where the export owns to such lines.
        """
        records = {record.header("ce_id"): record for record in export.records}
        letters = {record.header("ce_id"): record for record in export.letters}
        counts = {"bytes": 0, "lines": 0, "records": 0, "unchanged": 0, "dead_letters": 0, "blank": 0, "tombstones": 0}
        counts["missing"] = 0
        held = set()
        for index, read in enumerate(served.files):
            data = read()
            counts["bytes"] += len(data)
            for number, offset, line in lines_of(data):
                ce_id = f"{export_id}/{index}/{offset}"
                record, letter = records.pop(ce_id, None), letters.pop(ce_id, None)
                counts["lines"] += 1
                key = None if not line.strip(b" \t\r\n") else id_of(line)
                held.add((key or "").encode())
                if record is not None and letter is not None:
                    self._differs(f"{ce_id}: both a record and a dead letter")
                elif record is not None:
                    counts["records"] += 1
                    self._check_record(record, ce_id, key, line, served.entity_type)
                elif letter is not None:
                    counts["dead_letters"] += 1
                    self._check_letter(letter, ce_id, key, line, number, export.stream)
                    self._check_replays(export, ce_id, key, line, served.entity_type)
                elif whole:
                    counts[self._unpublished(export_id, topic, ce_id, key, line, may_repeat=may_repeat)] += 1
        for ce_id, record in (records | letters).items():
            self._differs(f"invented: {ce_id} at {record} is no line of the export")
        for record in export.tombstones:
            counts["tombstones"] += 1
            self._check_tombstone(record, export_id, served.entity_type, held)
        for name in ("records", "unchanged", "tombstones", "dead_letters", "blank"):
            setattr(self.report, name, getattr(self.report, name) + counts[name])
        self.report.size += counts["bytes"] if whole else 0
        del counts["missing"]
        return counts

    def _check_record(self, record: Record, ce_id: str, key: str | None, line: bytes, entity_type: str) -> None:
        headers = {
            "ce_specversion": b"1.0",
            "ce_id": ce_id.encode(),
            "ce_source": f"/mews/{self._connection}".encode(),
            "ce_type": f"com.mews.{entity_type}".encode(),
            "content-type": b"application/json",
        }
        self._equal(f"{ce_id} at {record}: key", record.key, (key or "a line without an Id").encode())
        self._equal(f"{ce_id} at {record}: value", record.value, line)
        self._equal(f"{ce_id} at {record}: headers", dict(record.headers), headers)
        self._equal(f"{ce_id} at {record}: number of headers", len(record.headers), len(headers))
        self._check_partition(record)

    def _unpublished(
        self, export_id: str, topic: str, ce_id: str, key: str | None, line: bytes, *, may_repeat: bool
    ) -> str:
        """What a line of a whole export counts as that became neither a record nor a dead letter."""
        if not line.strip(b" \t\r\n"):
            return "blank"
        if not (may_repeat and key is not None and self._is_said(export_id, topic, key.encode(), line)):
            self._differs(f"missing: {ce_id} ({_short(line)}) is nowhere in {topic}")
            return "missing"
        return "unchanged"

    def _is_said(self, export_id: str, topic: str, key: bytes, line: bytes) -> bool:
        """Whether the newest record of the key, as far as this export and those before it go, has these bytes."""
        stream = self._exports[export_id].stream
        order = list(dict.fromkeys(event["export_id"] for event in self._streams[stream]))
        until = order.index(export_id)
        said = [
            record
            for record in self._said[topic.removeprefix(f"{self._prefix}."), key]
            if record.header("ce_id").partition("/")[0] in order[: until + 1]
        ]
        return bool(said) and said[-1].value == line

    def _check_tombstone(self, record: Record, export_id: str, entity_type: str, held: set[bytes]) -> None:
        """It is of an entity that the export doesn't hold, and that the topic told of before."""
        key = record.key or b""
        headers = {
            "ce_specversion": b"1.0",
            "ce_id": f"{export_id}/gone/".encode() + key,
            "ce_source": f"/mews/{self._connection}".encode(),
            "ce_type": f"com.mews.{entity_type}".encode(),
        }
        self._equal(f"{record}: headers of a tombstone", dict(record.headers), headers)
        if key in held:
            self._differs(f"{record}: a tombstone for {key!r}, which the export holds")
        before = [r for r in self._said[slug(entity_type), key] if r.offset < record.offset]
        if not before or before[-1].value is None:
            self._differs(f"{record}: a tombstone for {key!r}, of which nothing was said")
        self._check_partition(record)

    def _check_replays(self, export: Export, ce_id: str, key: str | None, line: bytes, entity_type: str) -> None:
        for record in export.replays:
            if record.header("ce_id") == ce_id:
                usual = tuple(header for header in record.headers if header[0] != "streamer.replay")
                self._equal(f"{record}: header that it is a replay", len(record.headers) - len(usual), 1)
                self._check_record(dataclasses.replace(record, headers=usual), ce_id, key, line, entity_type)

    def _check_letter(self, letter: Record, ce_id: str, key: str | None, line: bytes, number: int, stream: str) -> None:
        reason = letter.header("__connect.errors.exception.class.name")
        if not line.startswith(letter.value or b"\0") or (len(letter.value or b"") < len(line) and reason not in LARGE):
            self._differs(f"{ce_id} at {letter}: value {_short(letter.value)} instead of {_short(line)}")
        if key is not None and reason not in self.reasons:
            self._differs(f"{ce_id} at {letter}: a dead letter for {reason}, but its Id is {key}")
        self._equal(f"{ce_id} at {letter}: key", letter.key, stream.encode())
        self._equal(f"{ce_id} at {letter}: ce_type", letter.header("ce_type"), "streamer.dead_letter")
        self._equal(f"{ce_id} at {letter}: line", letter.header("streamer.line"), str(number))
        self._equal(f"{ce_id} at {letter}: length", letter.header("streamer.length"), str(len(line)))
        self._check_partition(letter)

    def _check_completed(
        self, export_id: str, export: Export, event: dict[str, Any], counts: dict[str, int], topic: str
    ) -> None:
        told = {name: event[name] for name in counts}
        self._equal(f"{export_id}: counts in export_completed", told, counts)
        files = len(self._served[export_id].files)
        self._equal(f"{export_id}: topic, files", (event["topic"], event["files"]), (topic, files))
        sums = event["records"] + event["unchanged"] + event["dead_letters"] + event["blank"]
        self._equal(f"{export_id}: lines by their fates", sums, event["lines"])
        times = [event["requested_at"], event["ready_at"], event["at"]]
        self._equal(f"{export_id}: order of its times", times, sorted(times, key=datetime.fromisoformat))
        actual = {
            str(partition): {
                "records": sum(record.value is not None for record in records),
                "tombstones": sum(record.value is None for record in records),
                "start": records[0].offset,
                "end": records[-1].offset + 1,
                "digest": f"{sum(digest_of(record) for record in records) % 2**64:016x}",
            }
            for partition, records in _by_partition([*export.records, *export.tombstones]).items()
        }
        self._equal(f"{export_id}: partitions told", sorted(event["partitions"]), sorted(actual))
        for partition in actual.keys() & event["partitions"].keys():
            place = f"{export_id}: partition {partition}"
            self._equal(place, event["partitions"][partition], actual[partition])
        for partition, records in _by_partition(self._published.records.get(topic, ())).items():
            part = event["partitions"].get(str(partition))
            offsets = [record.offset for record in records]
            inside = records[bisect_left(offsets, part["start"]) : bisect_left(offsets, part["end"])] if part else []
            strangers = [r for r in inside if r.header("ce_id").partition("/")[0] != export_id]
            self._equal(f"{export_id}: others between start and end of partition {partition}", strangers, [])


def _by_partition(records: Sequence[Record]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        found[record.partition].append(record)
    return {partition: sorted(found[partition], key=lambda record: record.offset) for partition in sorted(found)}


def _place(record: Record) -> tuple[int, ...]:
    """File and byte, from the ``ce_id``; nothing where that is no position."""
    parts = record.header("ce_id").split("/")[1:]
    return tuple(int(part) for part in parts if part.isdigit())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]}…{text[-60:]} ({len(text)} characters)"
