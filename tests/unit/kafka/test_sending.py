"""Whatever aiokafka says of a block that could not be sent, it ends the producer and not the process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import IllegalOperation, KafkaConnectionError
from aiokafka.record.memory_records import MemoryRecords

from streamer.errors import ProducerLostError
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.producer import TransactionalProducer
from streamer.kafka.sending import Message
from tests.memory_kafka import MemoryKafka, MemoryProducer

EVENTS, BATCH_BYTES = "mews.exports", 20_000


class Refusing(MemoryProducer):
    """Takes no batch."""

    error: Exception

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        raise self.error


class Keeping(MemoryProducer):
    """Takes every batch, and keeps its bytes."""

    def __init__(self, kafka: MemoryKafka) -> None:
        super().__init__(kafka, "mews.streamer.3")
        self.taken: list[bytes] = []

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        self.taken.append(bytes(batch._build()))
        return await super().send_batch(batch, topic, partition=partition)


def producer_over(memory: MemoryProducer, *, zstd: bool = False) -> TransactionalProducer:
    return TransactionalProducer(
        lambda: memory,
        format=BatchFormat(batch_bytes=BATCH_BYTES, zstd=zstd, transactional=True),
        partitions={EVENTS: 1},
        transaction_seconds=1.0,
        milliseconds=lambda: 0,
    )


@pytest.mark.parametrize("zstd", [False, True])
def test_events_and_checkpoints_are_compressed_as_records_are(zstd: bool) -> None:
    keeping = Keeping(MemoryKafka({EVENTS: 1}))
    producer = producer_over(keeping, zstd=zstd)
    message = Message(EVENTS, b"key", b"value" * 100)

    async def publish() -> None:
        await producer.start()
        await producer.publish(lambda _: [message], messages=[message])

    asyncio.run(publish())  # in a thread, of which virtual time knows nothing
    assert [MemoryRecords(batch).next_batch().compression_type for batch in keeping.taken] == [4 * zstd] * 2


@pytest.mark.parametrize("error", [KafkaConnectionError(), AssertionError(), IllegalOperation("not in transaction")])
async def test_a_refused_batch_is_a_lost_producer(error: Exception) -> None:
    refusing = Refusing(MemoryKafka({EVENTS: 1}), "mews.streamer.3")
    refusing.error = error
    producer = producer_over(refusing)
    await producer.start()
    with pytest.raises(ProducerLostError):
        await producer.publish(lambda _: [], messages=[Message(EVENTS, b"key", b"value")])
