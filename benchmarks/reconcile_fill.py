"""Fills the topic of the reconciliation benchmark, by the daemon's own way from a file's bytes to transactions."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaProducer

from benchmarks.loops import loop_factory
from benchmarks.reconcile_lines import PARTITIONS, TOPIC, chunks_of, file_of
from streamer.config import KafkaConfig
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.kernel_blocks import file_blocks
from streamer.kafka.producer import TransactionalProducer
from streamer.kafka.sending import BATCH_BYTES, producer_options

_BLOCK_BYTES = 16_000_000
_SECONDS = 60.0


def fill(bootstrap_servers: str, first: int, end: int) -> None:
    """Publish the entities of these numbers, in blocks of 16 MB."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_fill(bootstrap_servers, first, end))


async def _fill(bootstrap_servers: str, first: int, end: int) -> None:
    producer = TransactionalProducer(
        lambda: AIOKafkaProducer(
            **producer_options(KafkaConfig(bootstrap_servers=(bootstrap_servers,))),
            transactional_id="reconcile-benchmark",
        ),
        format=BatchFormat(batch_bytes=BATCH_BYTES, zstd=True, transactional=True),
        partitions={TOPIC: PARTITIONS},
        transaction_seconds=_SECONDS,
        milliseconds=lambda: int(time.time() * 1000),
    )
    await producer.start()
    try:
        blocks = file_blocks(file_of(), producer.new_batches, kernel=True)
        for chunk in chunks_of(first, end):
            blocks.feed(chunk)
            if blocks.size >= _BLOCK_BYTES:
                await producer.publish(lambda _: (), topic=TOPIC, batches=blocks.take().batches)
        blocks.finish()
        await producer.publish(lambda _: (), topic=TOPIC, batches=blocks.take().batches)
    finally:
        await producer.close()
