"""The naive way, as anybody would write it first: one ``send`` for each line, as it comes.

Reads the files of an export from links, line by line, and sends each line with its ``Id`` as key and the same five
headers as the daemon. Idempotent, but without transactions, checkpoints or checks: a crash loses or doubles lines.

It is told what to do by one line of JSON on stdin, says ``done`` on stdout when everything is acknowledged, and then
waits for the end of stdin, so that its CPU time and memory can be read at rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator

import aiohttp
import msgspec
import yarl
from aiokafka import AIOKafkaProducer

from benchmarks.loops import loop_factory
from benchmarks.naive_task import Task


class Entity(msgspec.Struct):
    """What the key is made of."""

    id: str = msgspec.field(name="Id")


async def publish(task: Task) -> None:
    """Send the first lines of the export, and return when all of them are acknowledged."""
    producer = AIOKafkaProducer(
        bootstrap_servers=task.bootstrap_servers, enable_idempotence=True, compression_type=task.compression
    )
    await producer.start()
    decode = msgspec.json.Decoder(Entity).decode
    left = task.lines
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            for index, link in enumerate(task.links):
                async with contextlib.aclosing(_lines(session, link)) as lines:
                    offset = 0
                    async for raw in lines:
                        line = raw.rstrip(b"\r\n")
                        headers = task.headers and [
                            ("ce_specversion", b"1.0"),
                            ("ce_id", f"{task.export_id}/{index}/{offset}".encode()),
                            ("ce_source", task.source.encode()),
                            ("ce_type", f"com.mews.{task.entity_type}".encode()),
                            ("content-type", b"application/json"),
                        ]
                        await producer.send(
                            task.topic, value=line, key=decode(line).id.encode(), headers=headers or None
                        )
                        offset += len(raw)
                        left -= 1
                        if not left:
                            return
    finally:
        # Waits for everything that was sent.
        await producer.stop()


async def _lines(session: aiohttp.ClientSession, link: str) -> AsyncGenerator[bytes, None]:
    # As it is: otherwise its signature would be written anew, and refused.
    async with session.get(yarl.URL(link, encoded=True)) as response:
        response.raise_for_status()
        async for line in response.content:
            yield line


def main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(publish(task))
    print("done", flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
