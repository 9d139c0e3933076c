"""Ends a producer that does not stop by itself; a seam to aiokafka's private parts.

``stop`` delivers what is queued first and closes its connections last. While brokers are away it hangs in the first,
and one that is cut short there would leave its connections, its sender and the task that asks for metadata to the rest
of the process' life: each outage would leave them for each shard. What is dropped here the next producer of the id
settles.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

_ENDS_WITHIN_SECONDS = 1.0


async def cut_off(producer: AIOKafkaProducer) -> None:
    """Drop what is queued and on its way, close all connections, and end all tasks."""
    client, queue = producer.client, producer._message_accumulator
    # The one thing that is tried for ever, without looking whether the client is closed.
    client.coordinator_lookup = _nobody
    queue.fail_all(KafkaConnectionError("the producer was given up"))
    # Requests that end with their connections would put their batches back, of which the queue knows nothing any more.
    queue.reenqueue = _drop
    sender = producer._sender.sender_task
    if sender is not None:
        # It waits for its requests then.
        sender.cancel()
    for connection in list(client._conns.values()):
        # To close one would be to wait until all that was written has left.
        if connection._writer is not None:
            connection._writer.transport.abort()
    await client.close()
    # Whoever waits for metadata would wait for ever.
    if client._md_update_fut is not None and not client._md_update_fut.done():
        client._md_update_fut.set_result(False)
    if sender is not None and not sender.done():
        await asyncio.wait({sender}, timeout=_ENDS_WITHIN_SECONDS)
        sender.cancel()


async def _nobody(*_: object) -> NoReturn:
    raise KafkaConnectionError("the producer was given up")


def _drop(_: object) -> None: ...
