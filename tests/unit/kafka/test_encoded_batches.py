"""The seam to what aiokafka asks of a batch: the bytes that its own builder makes, and the same answers."""

from __future__ import annotations

import inspect
import types
from itertools import pairwise

import aiokafka
import cramjam
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from streamer.kafka import encoded_batches
from streamer.kafka.encoded_batches import HEADER_BYTES, ZSTD_LEVEL, BatchFormat, PythonBatch
from tests.unit.cases import cases
from tests.unit.kafka.small_batches import LIMIT, Record, encoded, of_aiokafka, records_in

LARGE = BatchFormat(batch_bytes=1 << 20, zstd=True, transactional=True)
SENDERS = [(7_000_000_001, 3, 12), (8, 0, 0)]


def lifelike(records: int) -> list[Record]:
    return [
        (b"%d" % n, b'{"Id":"%d","Name":"Zo\xc3\xab","Amounts":[%d,%d]}' % (n, n * 7919 % 1000, n * 104729 % 1000), [])
        for n in range(records)
    ]


def batch(records: list[Record], form: BatchFormat = LARGE) -> PythonBatch:
    (one,) = encoded(records, form)
    assert isinstance(one, PythonBatch)
    return one


def compressed(records: list[Record]) -> PythonBatch:
    one = batch(records)
    one.compress()
    return one


@cases("transactional", [True, False])
def test_has_the_bytes_of_aiokafkas_builder_whoever_sends_it(transactional: bool) -> None:
    form = BatchFormat(batch_bytes=LIMIT, zstd=False, transactional=transactional)
    records = [*lifelike(20), (b"k", None, [("ce_id", b"e1/0/7"), ("n", b"")]), (b"k" * 9000, b"v" * 9000, [])]
    ours, theirs = encoded(records, form), of_aiokafka(records, form)
    assert [one.size() for one in ours] == [one.size() for one in theirs]
    assert [one.record_count() for one in ours] == [one.record_count() for one in theirs]
    # Sent again by a later producer, too.
    for sender in SENDERS:
        for one, other in zip(ours, of_aiokafka(records, form), strict=True):
            one._set_producer_state(*sender)
            other._set_producer_state(*sender)
            assert bytes(one._build()) == bytes(other._build())


def test_nobody_has_said_who_sends_it() -> None:
    records = lifelike(3)
    assert bytes(batch(records)._build()) == bytes(of_aiokafka(records, LARGE)[0]._build())


@cases("size", range(150, 330))
def test_is_closed_at_the_size_at_which_aiokafka_closes_it(size: int) -> None:
    records: list[Record] = [(b"k", b"v" * length, []) for length in (10, 60, 61, 62, 63, 64, 0, 1)]
    form = BatchFormat(batch_bytes=size, zstd=False, transactional=True)
    assert [bytes(one._build()) for one in encoded(records, form)] == [
        bytes(one._build()) for one in of_aiokafka(records, form)
    ]


def test_numbers_more_records_than_two_bytes_can() -> None:
    records: list[Record] = [(b"%d" % n, b"", []) for n in range(9000)]
    assert bytes(batch(records)._build()) == bytes(of_aiokafka(records, LARGE)[0]._build())


def test_checksums_without_the_compiled_package(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bytes(batch(lifelike(9))._build())
    monkeypatch.setattr(encoded_batches, "google_crc32c", types.SimpleNamespace(implementation="python"))
    assert bytes(batch(lifelike(9))._build()) == expected


class TestCompressed:
    def test_by_level_one(self) -> None:
        records = bytes(compressed(lifelike(200))._build())[HEADER_BYTES:]
        content = bytes(cramjam.zstd.decompress(records))
        assert content == bytes(batch(lifelike(200))._build())[HEADER_BYTES:]
        assert records == bytes(cramjam.zstd.compress(content, level=ZSTD_LEVEL))
        assert records != bytes(cramjam.zstd.compress(content, level=3))

    def test_can_be_read_and_is_smaller(self) -> None:
        one = compressed(lifelike(200))
        read = MemoryRecords(bytes(one._build())).next_batch()
        assert read.validate_crc()
        assert read.compression_type == DefaultRecordBatch.CODEC_ZSTD
        assert read.is_transactional
        assert records_in([one]) == lifelike(200)
        assert one.size() == len(bytes(one._build())) < batch(lifelike(200)).size() / 2

    def test_not_where_that_would_make_it_larger(self) -> None:
        records: list[Record] = [(b"a", b"b", [])]
        assert bytes(compressed(records)._build()) == bytes(batch(records)._build())

    def test_sizes_fall_as_records_grow_alike(self) -> None:
        sizes = [compressed(lifelike(records)).size() / records for records in (10, 100, 1000)]
        assert all(later < earlier for earlier, later in pairwise(sizes))


class TestWhatTheSeamReliesOn:
    """Parts of aiokafka that it doesn't promise: look here first when its version changes."""

    def test_aiokafka_has_the_version_that_the_data_path_was_measured_with(self) -> None:
        assert aiokafka.__version__ == "0.14.0"

    def test_its_builder_can_be_asked_nothing_else(self) -> None:
        assert public_or_asked(BatchBuilder) == public_or_asked(PythonBatch) - {"compress"}

    def test_the_producer_takes_such_batches(self) -> None:
        taken = inspect.signature(aiokafka.AIOKafkaProducer.send_batch).parameters
        assert list(taken) == ["self", "batch", "topic", "partition"]
        assert inspect.iscoroutinefunction(aiokafka.AIOKafkaProducer.send_batch)


def public_or_asked(kind: type) -> set[str]:
    """Methods that a batch may be asked, ``_build`` and ``_set_producer_state`` among them."""
    private = {"_build", "_set_producer_state"}
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name in private or name[0] != "_"}
