"""The table of all streams for whoever only looks at it: nothing is owned, created or changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from streamer.config import Config
from streamer.kafka.checkpoints import CheckpointReader, Entry
from streamer.kafka.connection import tolerate_leftovers
from streamer.kafka.topics import TopicAdmin


@asynccontextmanager
async def stream_table(config: Config) -> AsyncIterator[Mapping[str, Entry]]:
    """Every stream with a checkpoint, by its key: all that is committed by now, and kept up to date for the block.

    Empty where there is no checkpoint topic yet. Raises ``KafkaUnavailableError``.
    """
    tolerate_leftovers(asyncio.get_running_loop())
    if not await _is_there(config):
        yield {}
        return
    reader = CheckpointReader(config)
    tail: asyncio.Task[None] | None = None
    try:
        await reader.start()
        tail = asyncio.create_task(reader.run(), name="checkpoint reader")
        await reader.read_what_is_committed()
        yield reader.entries
    finally:
        if tail is not None:
            tail.cancel()
            await asyncio.gather(tail, return_exceptions=True)
        await reader.stop()


async def _is_there(config: Config) -> bool:
    # A consumer would have the brokers create the topic, where they create what is asked for.
    admin = await TopicAdmin.connect(config)
    try:
        return config.topics.checkpoints in await admin.describe([config.topics.checkpoints])
    finally:
        await admin.close()
