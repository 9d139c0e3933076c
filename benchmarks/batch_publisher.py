"""The bare script: what of the daemon's Python path is left without its promises. Told what to do by JSON.

Lines split off whole chunks, msgspec for the ``Id``, aiokafka's batches, and a transaction with a checkpoint every two
seconds. It validates, counts and digests nothing, never reads its checkpoint back, and a bad line ends it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import aiohttp
import msgspec
import yarl
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks.peer_task import PeerTask
from streamer.core.partitioner import SEED, murmur2

_COMMIT_SECONDS = 2.0
_BATCH_BYTES = 256 * 1024


class Entity(msgspec.Struct, gc=False):
    """What the key is made of."""

    id: str = msgspec.field(name="Id")


class Batches:
    """One open batch for each partition; every full one is sent, and its delivery awaited before the commit."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._deliveries: list[Any] = []
        self.open: list[BatchBuilder] = [producer.create_batch() for _ in range(partitions)]

    async def ship(self, partition: int) -> BatchBuilder:
        """Send what is open, and open another."""
        full = self.open[partition]
        full.close()
        self._deliveries.append(await self._producer.send_batch(full, self._topic, partition=partition))
        self.open[partition] = new = self._producer.create_batch()
        return new

    async def commit(self, position: int) -> None:
        """Send the rest and a checkpoint, await all of it, and commit."""
        checkpoint = await self._producer.send(
            self._topic + "-checkpoints", key=b"file", value=b"%d" % position, partition=0
        )
        for partition, batch in enumerate(self.open):
            if batch.record_count():
                await self.ship(partition)
        await asyncio.gather(checkpoint, *self._deliveries)
        self._deliveries.clear()
        await self._producer.commit_transaction()


async def publish(task: PeerTask) -> None:
    """Send all lines; returns when the last transaction is committed."""
    producer = AIOKafkaProducer(
        bootstrap_servers=task.bootstrap_servers,
        transactional_id=f"batch-{task.topic}",
        compression_type=None if task.compression == "none" else task.compression,
        max_batch_size=_BATCH_BYTES,
        max_request_size=4 << 20,
        linger_ms=0,
    )
    await producer.start()
    partitions = len(await producer.partitions_for(task.topic))
    await producer.begin_transaction()
    batches = Batches(producer, task.topic, partitions)
    decode, fixed = msgspec.json.Decoder(Entity).decode, [(name, text.encode()) for name, text in task.headers.items()]
    offset, rest, commit_at = 0, b"", time.monotonic() + _COMMIT_SECONDS
    async with (
        aiohttp.ClientSession(read_bufsize=1 << 20, auto_decompress=False) as session,
        session.get(yarl.URL(task.link, encoded=True), timeout=aiohttp.ClientTimeout(total=None)) as response,
    ):
        async for chunk in response.content.iter_any():
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                key = decode(line).id.encode()
                partition = (murmur2(key, SEED) & 0x7FFFFFFF) % partitions
                headers = [("ce_id", f"{task.id_prefix}{offset}".encode()), *fixed] if fixed else []
                offset += len(line) + 1
                if batches.open[partition].append(timestamp=None, key=key, value=line, headers=headers) is None:
                    (await batches.ship(partition)).append(timestamp=None, key=key, value=line, headers=headers)
            if time.monotonic() >= commit_at:
                await batches.commit(offset)
                await producer.begin_transaction()
                commit_at = time.monotonic() + _COMMIT_SECONDS
    await batches.commit(offset)
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(publish(msgspec.json.decode(sys.argv[1], type=PeerTask)))
