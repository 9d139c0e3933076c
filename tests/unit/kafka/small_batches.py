"""Batches so small that few records fill them, and what is in them."""

from __future__ import annotations

from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streamer.kafka.batches import RecordBatches
from streamer.kafka.encoded_batches import BatchFormat

LIMIT = 300
NOW = 1_700_000_000_000


def builder() -> Any:
    return BatchBuilder(LIMIT, 0)


def record_batches() -> RecordBatches:
    return RecordBatches(builder, timestamp=NOW, format=BatchFormat(batch_bytes=LIMIT, zstd=False, transactional=False))


def records_in(builders: Any) -> list[tuple[bytes, bytes | None, list[tuple[str, bytes]]]]:
    return [
        (record.key, record.value, list(record.headers))
        for one in builders
        for record in MemoryRecords(bytes(one._build())).next_batch()
    ]
