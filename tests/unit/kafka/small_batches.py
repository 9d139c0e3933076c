"""Batches so small that few records fill them, and what is in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streamer.core.record_format import encode_headers
from streamer.kafka.batches import RecordBatches
from streamer.kafka.encoded_batches import BatchFormat

LIMIT = 300
NOW = 1_700_000_000_000
FORM = BatchFormat(batch_bytes=LIMIT, zstd=False, transactional=True)

Record = tuple[bytes, bytes | None, list[tuple[str, bytes]]]


def record_batches(form: BatchFormat = FORM) -> RecordBatches:
    return RecordBatches(timestamp=NOW, format=form)


def encoded(records: Iterable[Record], form: BatchFormat = FORM) -> list[Any]:
    """The batches of one partition."""
    batches = record_batches(form)
    for key, value, headers in records:
        batches.append(0, key, value, encode_headers(headers))
    return batches.close().get(0, [])


def of_aiokafka(records: Iterable[Record], form: BatchFormat = FORM) -> list[Any]:
    """The same, by aiokafka's own builder, not compressed."""
    builders: list[Any] = []
    for key, value, headers in records:
        record = {"timestamp": NOW, "key": key, "value": value, "headers": headers}
        if not builders or builders[-1].append(**record) is None:
            builders.append(BatchBuilder(form.batch_bytes, 0, is_transactional=int(form.transactional)))
            builders[-1].append(**record)
    return builders


def records_in(builders: Any) -> list[Record]:
    return [
        (record.key, record.value, list(record.headers))
        for one in builders
        for record in MemoryRecords(bytes(one._build())).next_batch()
    ]
