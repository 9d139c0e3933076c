"""A producer that can't stop, since its brokers are away, is cut off: nothing of it is left."""

from __future__ import annotations

import asyncio
import gc
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaError

from streamer.core.record_format import NO_HEADERS
from streamer.errors import ProducerLostError
from streamer.kafka import sending
from streamer.kafka.producer import Message, shard_producer
from streamer.kafka.topics import prepare_topics
from streamer.model import Shard
from streamer.sandbox.local_kafka import LocalKafka
from tests.brokers import Kafka
from tests.contract.kafka_settings import settings_for
from tests.secured import broker_security, grant_rights

SECONDS = 5.0
RECORD, RECORDS = 64 * 1024, 96


async def test_nothing_of_it_is_left(tmp_path: Path, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each outage would leave connections for each shard otherwise, and a task that asks for metadata for ever."""
    monkeypatch.setattr(sending, "STOP_SECONDS", 1.0)
    with LocalKafka(tmp_path, security=broker_security()) as broker:
        grant_rights(broker.bootstrap_servers)
        await _cut_off(broker, prefix)


async def _cut_off(broker: LocalKafka, prefix: str) -> None:
    config = settings_for(Kafka(broker.bootstrap_servers), prefix)
    kafka = msgspec.structs.replace(config.kafka, transaction_timeout=timedelta(seconds=3), compression="none")
    config = msgspec.structs.replace(config, kafka=kafka)
    topics = await prepare_topics(config)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    producer = shard_producer(config, topics, Shard(5), milliseconds=lambda: 0)
    await producer.start()
    conclusion = [Message(config.topics.checkpoints, b"alpine/Bill", b"checkpoint")]

    async def publish(records: int) -> None:
        batches = producer.new_batches()
        for number in range(records):
            batches.append(number % 3, b"%d" % number, os.urandom(RECORD), NO_HEADERS)
        await producer.publish(lambda _: conclusion, topic=f"{prefix}.bill", batches=batches)

    # So that connections and leaders are known; a small one, as what a connection takes at once would grow with it.
    await publish(3)
    assert asyncio.all_tasks() > before
    broker.pause()
    try:
        with pytest.raises(ProducerLostError):
            await publish(RECORDS)
        await producer.close()
        left = asyncio.all_tasks() - before
        if left:
            _, left = await asyncio.wait(left, timeout=SECONDS)
        assert not left
    finally:
        broker.resume()
    # What nobody has looked at is told when it is forgotten.
    gc.collect()
    await asyncio.sleep(0)
    assert [c for c in complaints if not isinstance(c.get("exception"), KafkaError)] == []
