"""Records in batches: what goes in comes out, in order and by size."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka.record.memory_records import MemoryRecords

from streamer.core.record_format import NO_HEADERS
from tests.unit.kafka.small_batches import LIMIT, NOW, record_batches, records_in


def test_a_batch_is_filled_before_the_next_begins() -> None:
    batches = record_batches()
    for _ in range(40):
        batches.append(0, b"key", b"v" * 20, NO_HEADERS)
    closed = batches.close()[0]
    counts = [one.record_count() for one in closed]
    assert len(set(counts[:-1])) == 1
    assert all(one.size() + 34 > LIMIT for one in closed[:-1])


def test_a_record_larger_than_a_batch_travels_alone() -> None:
    batches = record_batches()
    for value in (b"small", b"x" * 10 * LIMIT, b"small"):
        batches.append(0, b"k", value, NO_HEADERS)
    assert [one.record_count() for one in batches.close()[0]] == [1, 1, 1]


def test_all_records_have_the_time_of_the_block() -> None:
    batches = record_batches()
    batches.append(0, b"k", b"v", NO_HEADERS)
    (one,) = batches.close()[0]
    assert [record.timestamp for record in MemoryRecords(bytes(one._build())).next_batch()] == [NOW]


def test_nothing_can_be_added_to_a_batch_once_they_are_closed() -> None:
    batches = record_batches()
    batches.append(0, b"k", b"v", NO_HEADERS)
    (one,) = batches.close()[0]
    assert one.closed()
    one.append(timestamp=NOW, key=b"intruder", value=b"v", headers=[])
    assert records_in([one]) == [(b"k", b"v", [])]


def test_closing_again_changes_nothing_and_no_records_make_no_batches() -> None:
    batches = record_batches()
    assert batches.close() == {}
    batches.append(3, b"k", b"v", NO_HEADERS)
    assert batches.close() == batches.close()
    assert list(batches.close()) == [3]


def test_batches_of_the_kernel_come_behind_what_there_is() -> None:
    batches = record_batches()
    batches.append(0, b"k", b"v", NO_HEADERS)
    theirs: Any = SimpleNamespace(records=3)
    batches.add(0, [theirs])
    assert [one.record_count() for one in batches.close()[0]] == [1, 3]


async def test_what_is_prepared_is_closed() -> None:
    batches = record_batches()
    for partition in (2, 0, 2):
        batches.append(partition, b"k", b"v", NO_HEADERS)
    await batches.prepare()
    assert batches._open == {}
    assert {partition: records_in(closed) for partition, closed in batches.close().items()} == {
        0: [(b"k", b"v", [])],
        2: [(b"k", b"v", [])] * 2,
    }
