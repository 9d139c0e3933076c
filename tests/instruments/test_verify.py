"""The verifier is able to fail: each test doctors what was published, or what is told of it, and is found out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
import xxhash

from tests.facts import Published, Record, Served, id_of, lines_of, murmur2, slug
from tests.verify import Report, verify

EXPORT, LATER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
STREAM = "alpine/OrderItem"
TOPIC, EVENTS, LETTERS, CHECKPOINTS = "t.order-item", "t.exports", "t.dead-letters", "t.checkpoints"
PARTITIONS = 3
BAD = b'{"Name": "no id"}'
FIRST = b"".join(b'{"Id":"a%d","Name":"\xe2\x80\xa8"}\n' % n for n in range(20)) + b"\n" + BAD + b"\r\n"
SECOND = b"\xef\xbb\xbf" + b'{"Id":"b"}\r\n{"Id":"c"}'
CLOUD = {"ce_specversion": b"1.0", "ce_source": b"/mews/alpine"}


@dataclass
class Topics:
    """What a faultless daemon would have published; to be doctored."""

    records: dict[str, list[Record]] = field(default_factory=lambda: {t: [] for t in (TOPIC, EVENTS, LETTERS)})
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    files: dict[str, tuple[bytes, ...]] = field(default_factory=lambda: dict.fromkeys((EXPORT, LATER), (FIRST, SECOND)))

    def add(self, topic: str, key: bytes, value: bytes, headers: dict[str, bytes]) -> Record:
        partition = murmur2(key) % PARTITIONS
        offset = self.ends.get((topic, partition), 10)
        # After each record a gap, as the markers of transactions leave them.
        self.ends[topic, partition] = offset + 2
        record = Record(topic, partition, offset, key, value, tuple(headers.items()))
        self.records[topic].append(record)
        return record

    def event(self, name: str, export_id: str, **fields: Any) -> None:
        at = f"2026-01-01T00:00:{len(self.records[EVENTS]):02}Z"
        body = {"event": name, "connection": "alpine", "entity_type": "OrderItem", "export_id": export_id, "at": at}
        headers = {"ce_id": f"{export_id}/{name}/{fields.get('file', '')}", "ce_type": f"streamer.{name}"}
        value = json.dumps(body | fields).encode()
        self.add(EVENTS, STREAM.encode(), value, CLOUD | {k: v.encode() for k, v in headers.items()})

    def publish(self, export_id: str, files: tuple[bytes, ...], *, cycle: int, upto: int = 10**6) -> None:
        """An export: all of it, or only so many lines."""
        self.event("export_requested", export_id)
        self.event("export_ready", export_id)
        partitions: dict[str, dict[str, Any]] = {}
        fates = {"lines": 0, "records": 0, "dead_letters": 0, "blank": 0}
        for index, data in enumerate(files):
            for number, offset, line in lines_of(data):
                if fates["lines"] == upto:
                    self.checkpoint(export_id, cycle, index, offset, fates)
                    return
                fates["lines"] += 1
                fates[self.line(export_id, index, number, offset, line, partitions)] += 1
            self.event("file_published", export_id, file=index, bytes=len(data))
            self.checkpoint(export_id, cycle, index + 1, 0, fates)
        told = {name: {**part, "digest": f"{part['digest']:016x}"} for name, part in partitions.items()}
        more = {"topic": TOPIC, "files": len(files), "bytes": sum(map(len, files)), "unchanged": 0, "tombstones": 0}
        times = {"requested_at": "2026-01-01T00:00:00Z", "ready_at": "2026-01-01T00:00:00Z"}
        self.event("export_completed", export_id, partitions=told, **more, **times, **fates)
        self.checkpoints.append(
            {"cycle": cycle, "term": 1, "state": {"phase": "idle"}, "snapshot": {"export_id": export_id}}
        )

    def line(
        self, export_id: str, index: int, number: int, offset: int, line: bytes, partitions: dict[str, dict[str, Any]]
    ) -> str:
        """Publish a line; what became of it."""
        headers = {**CLOUD, "ce_id": f"{export_id}/{index}/{offset}".encode()}
        if not line:
            return "blank"
        if (key := id_of(line)) is None:
            headers |= {"ce_type": b"streamer.dead_letter", "streamer.line": b"%d" % number}
            self.add(LETTERS, STREAM.encode(), line, headers | {"streamer.length": b"%d" % len(line)})
            return "dead_letters"
        headers |= {"ce_type": b"com.mews.OrderItem", "content-type": b"application/json"}
        record = self.add(TOPIC, key.encode(), line, headers)
        nothing = {"records": 0, "tombstones": 0, "start": record.offset, "digest": 0}
        part = partitions.setdefault(str(record.partition), nothing)
        part["records"] += 1
        part["end"] = record.offset + 1
        part["digest"] = (part["digest"] + xxhash.xxh3_64_intdigest(key.encode() + b"\0" + line)) % 2**64
        return "records"

    def checkpoint(self, export_id: str, cycle: int, file: int, offset: int, fates: dict[str, int]) -> None:
        position = {"file": file, "offset": offset}
        state = {"phase": "publishing", "export_id": export_id, "position": position, "counts": dict(fates)}
        newest = self.checkpoints[-1]["snapshot"] if self.checkpoints else None
        self.checkpoints.append({"cycle": cycle, "term": 1, "state": state, "snapshot": newest})

    def verdict(self) -> Report:
        written = [
            Record(CHECKPOINTS, 0, number, STREAM.encode(), json.dumps(checkpoint).encode())
            for number, checkpoint in enumerate(self.checkpoints)
        ]
        served = {
            export_id: Served("OrderItem", tuple(partial(bytes, data) for data in files))
            for export_id, files in self.files.items()
        }
        published = Published({**self.records, CHECKPOINTS: written}, dict.fromkeys(self.records, PARTITIONS))
        return verify(published, served, prefix="t", connection="alpine")

    def change_event(self, number: int, change: Callable[[dict[str, Any]], object]) -> None:
        body = json.loads(self.records[EVENTS][number].value or b"")
        change(body)
        self.records[EVENTS][number] = replace(self.records[EVENTS][number], value=json.dumps(body).encode())


@pytest.fixture
def topics() -> Topics:
    """Two exports: one completed, and one that is under way."""
    topics = Topics()
    topics.publish(EXPORT, (FIRST, SECOND), cycle=1)
    topics.publish(LATER, (FIRST, SECOND), cycle=2, upto=7)
    return topics


COMPLETED = 4
"""The place of ``export_completed`` among the events."""


def test_what_is_faultless_passes_and_is_counted(topics: Topics) -> None:
    report = topics.verdict()
    assert (report.completed, report.cut_short, report.records, report.dead_letters) == (1, 1, 29, 1)
    assert (report.blank, report.size, report.cycles) == (1, len(FIRST + SECOND), 2)


def test_the_hash_is_that_of_kafka() -> None:
    # org.apache.kafka.common.utils.UtilsTest#testMurmur2
    vectors = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert {key: murmur2(key) for key in vectors} == {key: value & 0x7FFFFFFF for key, value in vectors.items()}
    assert (slug("AvailabilityBlock"), slug("Bill")) == ("availability-block", "bill")


def test_a_missing_record_is_found(topics: Topics) -> None:
    gone = topics.records[TOPIC].pop(5)
    with pytest.raises(AssertionError, match=f"missing: {gone.header('ce_id')} "):
        topics.verdict()


def test_a_missing_record_of_an_export_under_way_is_found_by_the_checkpoint(topics: Topics) -> None:
    topics.records[TOPIC].pop()
    with pytest.raises(AssertionError, match="records in the checkpoint: 7 instead of 6"):
        topics.verdict()


@pytest.mark.parametrize("topic", [TOPIC, LETTERS])
def test_a_doubled_record_or_dead_letter_is_found(topics: Topics, topic: str) -> None:
    twice = topics.records[topic][0]
    topics.add(topic, twice.key or b"", twice.value or b"", dict(twice.headers))
    with pytest.raises(AssertionError, match=f"repeated: {twice.header('ce_id')} "):
        topics.verdict()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"value": b'{"Id":"a3","Name":"?"}'}, "value: "),
        ({"key": b"a4"}, "key: b'a4' instead of b'a3'"),
        ({"partition": 77}, "partition of b'a3': 77 instead of"),
        ({"headers": ()}, "never served"),
        ({"offset": 10**6}, "out of order"),
    ],
)
def test_a_changed_record_is_found(topics: Topics, change: dict[str, Any], told: str) -> None:
    topics.records[TOPIC][3] = replace(topics.records[TOPIC][3], **change)
    with pytest.raises(AssertionError, match=told):
        topics.verdict()


def test_a_changed_header_is_found(topics: Topics) -> None:
    record = topics.records[TOPIC][3]
    headers = tuple((name, b"/mews/other" if name == "ce_source" else value) for name, value in record.headers)
    topics.records[TOPIC][3] = replace(record, headers=headers)
    with pytest.raises(AssertionError, match="headers: "):
        topics.verdict()


def test_a_record_of_no_line_is_found(topics: Topics) -> None:
    record = topics.records[TOPIC][3]
    headers = dict(record.headers) | {"ce_id": f"{EXPORT}/0/1".encode()}
    topics.add(TOPIC, record.key or b"", record.value or b"", headers)
    with pytest.raises(AssertionError, match=f"invented: {EXPORT}/0/1 "):
        topics.verdict()


def test_a_record_among_those_of_another_export_is_found(topics: Topics) -> None:
    inside = topics.records[TOPIC][0]
    stranger = topics.records[TOPIC].pop()
    topics.records[TOPIC].append(replace(stranger, partition=inside.partition, offset=inside.offset + 1))
    with pytest.raises(AssertionError, match="others between start and end"):
        topics.verdict()


@pytest.mark.parametrize("name", ["start", "end", "digest", "records", "tombstones"])
def test_a_wrong_number_about_a_partition_is_found(topics: Topics, name: str) -> None:
    topics.change_event(COMPLETED, lambda event: event["partitions"]["1"].update({name: 4711}))
    with pytest.raises(AssertionError, match=f"{EXPORT}: partition 1: .*4711.* instead of"):
        topics.verdict()


@pytest.mark.parametrize("name", ["lines", "records", "dead_letters", "blank", "bytes", "unchanged", "files"])
def test_a_wrong_count_is_found(topics: Topics, name: str) -> None:
    topics.change_event(COMPLETED, lambda event: event.update({name: 4711}))
    with pytest.raises(AssertionError, match="4711"):
        topics.verdict()


def test_a_partition_that_is_not_told_is_found(topics: Topics) -> None:
    topics.change_event(COMPLETED, lambda event: event["partitions"].pop("1"))
    with pytest.raises(AssertionError, match="partitions told"):
        topics.verdict()


def test_a_second_end_is_found(topics: Topics) -> None:
    again = topics.records[EVENTS][COMPLETED]
    topics.records[EVENTS].insert(COMPLETED + 1, replace(again, offset=again.offset + 1))
    with pytest.raises(AssertionError, match=f"export_completed of {EXPORT} while None was under way"):
        topics.verdict()


def test_a_file_that_is_published_twice_is_found(topics: Topics) -> None:
    again = topics.records[EVENTS][COMPLETED - 1]
    topics.records[EVENTS].insert(COMPLETED, replace(again, offset=again.offset + 1))
    with pytest.raises(AssertionError, match="file_published 3 times for 2 files"):
        topics.verdict()


def test_an_end_that_was_never_told_is_found(topics: Topics) -> None:
    del topics.records[EVENTS][COMPLETED]
    with pytest.raises(AssertionError, match=f"while {EXPORT} was under way"):
        topics.verdict()


def test_a_second_export_of_a_cycle_is_found(topics: Topics) -> None:
    for checkpoint in topics.checkpoints:
        checkpoint["cycle"] = 1
    with pytest.raises(AssertionError, match="cycle 1 has more than one export"):
        topics.verdict()


def test_a_checkpoint_that_goes_back_is_found(topics: Topics) -> None:
    topics.checkpoints.insert(1, topics.checkpoints[0])
    with pytest.raises(AssertionError, match="the checkpoint went back"):
        topics.verdict()


@pytest.fixture
def reconciled() -> Topics:
    """After the first export nothing has changed, but for one that is gone: told of in a snapshot of the same lines."""
    topics = Topics()
    topics.publish(EXPORT, (FIRST, SECOND), cycle=1)
    record = topics.records[TOPIC][0]
    topics.event("export_requested", LATER)
    topics.event("export_ready", LATER)
    rest = FIRST.split(b"\n", 1)[1]
    headers = {**CLOUD, "ce_id": f"{LATER}/gone/".encode() + (record.key or b""), "ce_type": b"com.mews.OrderItem"}
    tombstone = replace(topics.add(TOPIC, record.key or b"", b"", headers), value=None)
    topics.records[TOPIC][-1] = tombstone
    letter = {**CLOUD, "ce_type": b"streamer.dead_letter", "streamer.line": b"21", "streamer.length": b"17"}
    topics.add(LETTERS, STREAM.encode(), BAD, {**letter, "ce_id": f"{LATER}/0/{rest.index(BAD)}".encode()})
    for index, data in enumerate((rest, SECOND)):
        topics.event("file_published", LATER, file=index, bytes=len(data))
    digest = xxhash.xxh3_64_intdigest((record.key or b"") + b"\0")
    part = {"records": 0, "tombstones": 1, "start": tombstone.offset, "end": tombstone.offset + 1}
    more = {"topic": TOPIC, "files": 2, "bytes": len(rest) + len(SECOND), "unchanged": 21, "tombstones": 1}
    times = {"requested_at": "2026-01-01T00:00:00Z", "ready_at": "2026-01-01T00:00:00Z"}
    fates = {"lines": 23, "records": 0, "dead_letters": 1, "blank": 1}
    told = {str(tombstone.partition): {**part, "digest": f"{digest:016x}"}}
    topics.event("export_completed", LATER, partitions=told, **more, **times, **fates)
    state = {"phase": "reconciling", "export_id": LATER}
    topics.checkpoints.append({"cycle": 2, "term": 1, "state": state, "snapshot": {"export_id": EXPORT}})
    topics.checkpoints.append({"cycle": 2, "term": 1, "state": {"phase": "idle"}, "snapshot": {"export_id": LATER}})
    topics.files = {EXPORT: (FIRST, SECOND), LATER: (rest, SECOND)}
    return topics


def test_what_is_left_out_and_what_is_gone_passes_and_is_counted(reconciled: Topics) -> None:
    report = reconciled.verdict()
    assert (report.completed, report.records, report.unchanged, report.tombstones) == (2, 22, 21, 1)


def test_a_line_left_out_that_the_topic_did_not_say_is_found(reconciled: Topics) -> None:
    reconciled.files[LATER] = (reconciled.files[LATER][0].replace(b'"a7"', b'"a7" '), SECOND)
    with pytest.raises(AssertionError, match=f"missing: {LATER}/0/"):
        reconciled.verdict()


def test_a_tombstone_of_somebody_living_is_found(reconciled: Topics) -> None:
    reconciled.files[LATER] = (FIRST, SECOND)
    with pytest.raises(AssertionError, match="a tombstone for b'a0', which the export holds"):
        reconciled.verdict()


def test_a_second_tombstone_is_found(reconciled: Topics) -> None:
    again = reconciled.records[TOPIC][-1]
    reconciled.records[TOPIC].append(replace(again, offset=again.offset + 1))
    with pytest.raises(AssertionError, match="of which nothing was said"):
        reconciled.verdict()
