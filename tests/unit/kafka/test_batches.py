"""The seam over aiokafka's batches: what goes in comes out, in order and by size; and it still is what we rely on."""

from __future__ import annotations

import inspect

import aiokafka
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from tests.unit.cases import cases
from tests.unit.kafka.small_batches import LIMIT, NOW, builder, record_batches, records_in


def test_a_batch_is_filled_before_the_next_begins() -> None:
    batches = record_batches()
    for _ in range(40):
        batches.append(0, b"key", b"v" * 20, [])
    builders = batches.close()[0]
    counts = [one.record_count() for one in builders]
    assert len(set(counts[:-1])) == 1
    assert all(one.size() + 34 > LIMIT for one in builders[:-1])


def test_a_record_larger_than_a_batch_travels_alone() -> None:
    batches = record_batches()
    for value in (b"small", b"x" * 10 * LIMIT, b"small"):
        batches.append(0, b"k", value, [])
    assert [one.record_count() for one in batches.close()[0]] == [1, 1, 1]


def test_all_records_have_the_time_of_the_block() -> None:
    batches = record_batches()
    batches.append(0, b"k", b"v", [])
    (one,) = batches.close()[0]
    assert [record.timestamp for record in MemoryRecords(bytes(one._build())).next_batch()] == [NOW]


def test_nothing_can_be_added_to_a_batch_once_they_are_closed() -> None:
    batches = record_batches()
    batches.append(0, b"k", b"v", [])
    (one,) = batches.close()[0]
    assert one.append(timestamp=NOW, key=b"intruder", value=b"v", headers=[]) is None
    assert records_in([one]) == [(b"k", b"v", [])]


def test_closing_again_changes_nothing_and_no_records_make_no_batches() -> None:
    batches = record_batches()
    assert batches.close() == {}
    batches.append(3, b"k", b"v", [])
    assert batches.close() == batches.close()
    assert list(batches.close()) == [3]


class TestWhatTheSeamReliesOn:
    """Parts of aiokafka that it doesn't promise: look here first when its version changes."""

    def test_aiokafka_has_the_version_that_the_data_path_was_measured_with(self) -> None:
        assert aiokafka.__version__ == "0.14.0"

    def test_a_batch_that_is_full_answers_none_and_keeps_what_it_has(self) -> None:
        one = builder()
        fits = one.append(timestamp=NOW, key=b"k", value=b"v" * 150, headers=[])
        assert (fits.offset, fits.timestamp) == (0, NOW)
        assert one.append(timestamp=NOW, key=b"k", value=b"v" * 150, headers=[]) is None
        assert one.record_count() == 1
        assert one.closed()

    def test_the_first_record_fits_into_any_batch(self) -> None:
        assert builder().append(timestamp=NOW, key=b"k", value=b"v" * 10 * LIMIT, headers=[]) is not None

    def test_a_closed_batch_takes_nothing(self) -> None:
        one = builder()
        one.close()
        assert one.append(timestamp=NOW, key=b"k", value=b"v", headers=[]) is None
        assert one.record_count() == 0

    @cases("name", ["key", "value", "timestamp", "headers"])
    def test_records_are_given_by_name(self, name: str) -> None:
        assert inspect.signature(BatchBuilder.append).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY

    def test_the_producer_makes_and_takes_such_batches(self) -> None:
        assert inspect.signature(aiokafka.AIOKafkaProducer.create_batch).parameters.keys() == {"self"}
        taken = inspect.signature(aiokafka.AIOKafkaProducer.send_batch).parameters
        assert list(taken) == ["self", "batch", "topic", "partition"]
        assert inspect.iscoroutinefunction(aiokafka.AIOKafkaProducer.send_batch)
