"""Whatever aiokafka says of a block that could not be sent, it ends the producer and not the process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import IllegalOperation, KafkaConnectionError

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


@pytest.mark.parametrize("error", [KafkaConnectionError(), AssertionError(), IllegalOperation("not in transaction")])
async def test_a_refused_batch_is_a_lost_producer(error: Exception) -> None:
    refusing = Refusing(MemoryKafka({EVENTS: 1}), "mews.streamer.3")
    refusing.error = error
    producer = TransactionalProducer(
        lambda: refusing,
        format=BatchFormat(batch_bytes=BATCH_BYTES, zstd=False, transactional=True),
        partitions={EVENTS: 1},
        transaction_seconds=1.0,
        milliseconds=lambda: 0,
    )
    await producer.start()
    with pytest.raises(ProducerLostError):
        await producer.publish(lambda _: [], messages=[Message(EVENTS, b"key", b"value")])
