"""The demo's consumer: reads what is committed, as anybody would, and nothing of it through streamer's own code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from streamer.errors import FatalError
from streamer.sandbox.demo_proof import Fingerprints, Verdict, compare

_READ_SECONDS = 60.0
"""Longest wait for the next records."""

Told = Callable[[int], None]
"""Hears of records that were read, as they come."""


class Sample(msgspec.Struct, frozen=True):
    """One record for show."""

    topic: str
    partition: int
    offset: int
    key: str
    ce_id: str
    value: bytes


class Published(msgspec.Struct, frozen=True):
    """A completed export: where its records lie, and what its event says."""

    entity_type: str
    export_id: str
    topic: str
    event: Mapping[str, Any]


async def read_completed(bootstrap_servers: str, topic: str) -> dict[str, Published]:
    """The event ``export_completed`` of each entity type, by type; the last one where there are several."""
    completed: dict[str, Published] = {}
    async with _consumer(bootstrap_servers, topic) as consumer:
        async for records in _to_the_end(consumer):
            for record in records:
                event = msgspec.json.decode(record.value)
                if event["event"] == "export_completed":
                    name = event["entity_type"]
                    completed[name] = Published(name, event["export_id"], event["topic"], event)
    return completed


async def first_records(bootstrap_servers: str, topic: str, count: int) -> list[ConsumerRecord]:
    """The first records of a topic, partition by partition."""
    found: list[ConsumerRecord] = []
    async with _consumer(bootstrap_servers, topic) as consumer:
        async for records in _to_the_end(consumer):
            found += records
            if len(found) >= count:
                break
    return found[:count]


async def prove(
    export: Published,
    *,
    bootstrap_servers: str,
    simulator: aiohttp.ClientSession,
    served: Mapping[str, Any],
    told: Told,
) -> tuple[Verdict, Sample | None]:
    """Compare a topic with the files it was made of; ``served`` is what the simulator says of the export."""
    lines = Fingerprints()
    for file in served["files"]:
        path = f"/_control/exports/{export.export_id}/files/{file['index']}"
        async with simulator.get(path) as answer:
            content = await answer.read()
        await asyncio.to_thread(lines.add_file, file["index"], content)
    records, sample = await _read_topic(export, bootstrap_servers, told)
    return await asyncio.to_thread(compare, lines, records, export.event), sample


async def _read_topic(export: Published, bootstrap_servers: str, told: Told) -> tuple[Fingerprints, Sample | None]:
    found = Fingerprints()
    sample: Sample | None = None
    async with _consumer(bootstrap_servers, export.topic) as consumer:
        async for records in _to_the_end(consumer):
            for record in records:
                ce_id = dict(record.headers)["ce_id"]
                found.add_record(export.export_id, record.partition, ce_id, record.key, record.value)
            if sample is None and records:
                sample = _sample(records[len(records) // 2])
            told(len(records))
    return found, sample


def _sample(record: ConsumerRecord) -> Sample:
    return Sample(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key.decode(),
        ce_id=dict(record.headers)["ce_id"].decode(),
        value=record.value,
    )


@asynccontextmanager
async def _consumer(bootstrap_servers: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=2_000_000,
        check_crcs=False,
    )
    try:
        async with asyncio.timeout(_READ_SECONDS):
            await consumer.start()
        yield consumer
    except (KafkaError, TimeoutError) as error:
        raise FatalError(f"reading the topics back failed: {type(error).__name__} {error}".rstrip()) from error
    finally:
        await consumer.stop()


async def _to_the_end(consumer: AIOKafkaConsumer) -> AsyncIterator[Sequence[ConsumerRecord]]:
    """All committed records of the consumer's topic as it is now, in pieces."""
    # Without a group, `start` has assigned all of them.
    left: set[TopicPartition] = set(consumer.assignment())
    ends = await consumer.end_offsets(left)
    while left:
        async with asyncio.timeout(_READ_SECONDS):
            fetched = await consumer.getmany(timeout_ms=100, max_records=4000)
        for records in fetched.values():
            yield records
        # Positions, not records' offsets: the ends of transactions take an offset too.
        left = {p for p in left if await consumer.position(p) < ends[p]}
