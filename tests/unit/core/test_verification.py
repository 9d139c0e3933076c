"""What the verification finds, and that it finds nothing where all is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
import pytest
import xxhash

from streamer.contract.events import EVENTS, ExportEvent, example_of
from streamer.core.partition_scan import PartitionScan, Tally
from streamer.core.states import PartitionCounts
from streamer.core.verification import Told, compared, history_of, sums_up
from tests.unit.cases import cases

EXPORT = b"6a3c5f2e-0000-4000-8000-000000000001"
SOURCE = b"/mews/alpine"
AT = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp: int = 1_000


def record(offset: int, place: str, *, source: bytes = SOURCE, export: bytes = EXPORT, value: bytes = b"{}") -> Record:
    headers = (("ce_specversion", b"1.0"), ("ce_id", export + b"/" + place.encode()), ("ce_source", source))
    return Record(offset, f"key-{offset}".encode(), value, headers)


GOOD = [record(10, "0/0"), record(11, "0/30"), record(13, "1/0")]


def digest_of(records: Sequence[Record]) -> str:
    total = sum(xxhash.xxh3_64_intdigest(r.key + b"\0" + (r.value or b"")) for r in records)
    return f"{total % 2**64:016x}"


CLAIM = PartitionCounts(records=3, tombstones=0, start=10, end=14, digest=digest_of(GOOD))


def scan(
    records: Sequence[Record],
    *,
    partitions: int = 0,
    repeats: bool = False,
    ranged: bool = False,
    replayed: Mapping[int, str] | None = None,
) -> PartitionScan:
    scanned = PartitionScan(
        "t[0]",
        partition=0,
        partitions=partitions,
        sources=frozenset({SOURCE}),
        known=frozenset({EXPORT}),
        told_since=500,
        repeats=repeats,
        ranges=[(10, 14, EXPORT)] if ranged else None,
        replayed=replayed,
    )
    scanned.take(records)
    return scanned


def differences(
    records: Sequence[Record], claim: PartitionCounts | None = CLAIM, *, whole: bool = True, repeats: bool = False
) -> list[str]:
    scanned = scan(records, repeats=repeats)
    found = scanned.tallies.get(EXPORT)
    return scanned.differences.shown + compared(claim, found, place="t[0]", whole=whole, repeats=repeats)


def test_what_is_as_told_has_no_differences() -> None:
    assert differences(GOOD) == []
    assert differences([], PartitionCounts(records=0, tombstones=0, start=0, end=0, digest="0" * 16)) == []
    assert differences([], None) == []


def test_another_connection_and_its_exports_are_left_aside() -> None:
    foreign = record(12, "0/0", source=b"/mews/seaside", export=b"other")
    assert differences([*GOOD[:2], foreign, GOOD[2]]) == []


@pytest.mark.parametrize(
    ("records", "found"),
    [
        (GOOD[:2], "t[0]: 2 records instead of 3"),
        ([*GOOD, record(13, "1/9")], "t[0]: 4 records instead of 3"),
        ([*GOOD, record(14, "1/0")], f"t[0]@14: {EXPORT.decode()}/1/0 is there again"),
        ([GOOD[0], record(11, "0/30", value=b"[]"), GOOD[2]], "t[0]: digest"),
        ([record(9, "0/0"), *GOOD[1:]], "t[0]: offsets (9, 14), beyond (10, 14)"),
        ([*GOOD, record(14, "0/0", export=b"unheard-of")], "unheard-of has records, but no event tells of it"),
        ([*GOOD, record(13, "gone/x")], "t[0]: 1 tombstones instead of 0"),
    ],
)
def test_each_way_to_be_wrong_is_found(records: list[Record], found: str) -> None:
    assert any(found in difference for difference in differences(records)), differences(records)


def test_of_an_older_export_some_may_be_gone_but_nothing_may_contradict() -> None:
    assert differences(GOOD[1:], whole=False) == []
    assert differences([*GOOD, record(13, "1/9")], whole=False) != []
    assert differences([GOOD[0], record(11, "0/30", value=b"[]"), GOOD[2]], whole=False) != []


def test_records_that_no_event_tells_of_are_found_only_where_events_reach_back() -> None:
    old = replace(record(14, "0/0", export=b"unheard-of"), timestamp=499)
    assert differences([*GOOD, old]) == []
    assert "event tells of none" in differences(GOOD, None)[0]


def test_where_delivery_is_at_least_once_repeats_are_counted_and_no_difference() -> None:
    repeated = [*GOOD[:2], record(12, "0/30"), GOOD[2]]
    assert differences(repeated, repeats=True) == []
    assert scan(repeated, repeats=True).tallies[EXPORT].repeats == 1


def test_a_key_in_the_wrong_partition_is_found() -> None:
    assert scan(GOOD, partitions=1).differences.count == 0
    scanned = scan([replace(r, key=b"%d" % n) for n, r in enumerate(GOOD * 10)], partitions=4)
    assert any("the key belongs in partition" in difference for difference in scanned.differences.shown)


def test_a_replayed_line_stands_where_was_told_and_outside_its_export() -> None:
    again = record(20, "0/15")
    assert differences([*GOOD, again])
    for records, missing in (([*GOOD, again], {}), (GOOD, {20: "0/15"}), ([*GOOD, record(20, "1/15")], {20: "0/15"})):
        told = {20: f"{EXPORT.decode()}/0/15"}
        scanned = scan(records, replayed=told)
        assert list(scanned.replays_missing) == list(missing)
        if not missing:
            assert not scanned.differences.shown
            assert not compared(CLAIM, scanned.tallies[EXPORT], place="t[0]", whole=True, repeats=False)


def test_without_headers_offsets_tell_whose_record_it_is() -> None:
    bare = [replace(r, headers=()) for r in [*GOOD, record(14, "0/0")]]
    scanned = scan(bare, ranged=True)
    assert compared(CLAIM, scanned.tallies[EXPORT], place="t[0]", whole=True, repeats=False) == []
    assert scanned.nameless == 1
    assert scan(bare).nameless == 4


def test_differences_are_told_by_the_few_and_counted_by_the_million() -> None:
    scanned = scan([record(n, "0/0") for n in range(1_000)])
    assert (len(scanned.differences.shown), scanned.differences.count) == (20, 999)


def told(event: str, export_id: str = "e1", **more: int) -> Told:
    return Told(event=event, connection="alpine", entity_type="Bill", at=AT, export_id=export_id, **more)  # type: ignore[arg-type]


def test_an_event_that_contradicts_itself_is_found() -> None:
    assert sums_up(told("export_completed")) == []
    assert sums_up(told("export_completed", lines=3, records=1)) == [
        "the event tells of 3 lines, but of 1 in its parts",
        "the event tells of 1 records, but of 0 in its partitions",
    ]


def test_exports_end_once_and_one_after_another() -> None:
    begin, end = told("export_requested"), told("export_completed")
    assert history_of("s", [begin, told("export_ready"), end, told("export_requested", "e2")]) == []
    assert "a second time" in history_of("s", [begin, end, told("export_failed")])[0]
    assert "while e1 was under way" in history_of("s", [begin, told("export_requested", "e2")])[0]


def test_a_tally_without_records_is_none_found() -> None:
    assert compared(None, Tally(), place="t[0]", whole=True, repeats=False) == []


@cases("event", EVENTS)
def test_every_event_that_is_promised_can_be_read(event: type[ExportEvent]) -> None:
    told = msgspec.convert(example_of(event), Told)
    assert told.stream == "alpine-hotels/Reservation"
    assert told.names == (told.export_id or "")


def test_what_retires_a_stream_names_its_tombstones() -> None:
    applied = Told("signal_applied", "alpine", "Bill", AT, signal="retire", offset=17)
    assert applied.names == "retire-17"
