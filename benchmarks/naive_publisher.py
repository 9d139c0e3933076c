"""The naive way, as anybody would write it first: one ``send`` for each line, as it comes. Told what to do by JSON.

Reads the file line by line, and sends each with its ``Id`` as key. Idempotent, but without transactions, checkpoints or
checks: a crash loses or doubles lines.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import msgspec
import yarl
from aiokafka import AIOKafkaProducer

from benchmarks.loops import loop_factory
from benchmarks.peer_task import PeerTask


class Entity(msgspec.Struct):
    """What the key is made of."""

    id: str = msgspec.field(name="Id")


async def publish(task: PeerTask) -> None:
    """Send the first lines of the file, and return when all of them are acknowledged."""
    producer = AIOKafkaProducer(
        bootstrap_servers=task.bootstrap_servers,
        enable_idempotence=True,
        compression_type=None if task.compression == "none" else task.compression,
    )
    await producer.start()
    decode, fixed = msgspec.json.Decoder(Entity).decode, [(name, text.encode()) for name, text in task.headers.items()]
    offset, left = 0, task.lines
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
            # As it is: otherwise its signature would be written anew, and refused.
            session.get(yarl.URL(task.link, encoded=True)) as response,
        ):
            response.raise_for_status()
            async for raw in response.content:
                line = raw.rstrip(b"\r\n")
                headers = [("ce_id", f"{task.id_prefix}{offset}".encode()), *fixed] if fixed else None
                await producer.send(task.topic, value=line, key=decode(line).id.encode(), headers=headers)
                offset += len(raw)
                left -= 1
                if not left:
                    return
    finally:
        # Waits for everything that was sent.
        await producer.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(publish(msgspec.json.decode(sys.argv[1], type=PeerTask)))
