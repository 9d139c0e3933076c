"""Reads the dead letters of some streams back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from streamer.config import Config
from streamer.core.letters import Letter, letter_of
from streamer.errors import FatalError
from streamer.kafka.scanning import TopicScanner
from streamer.kafka.topics import partitions_of
from streamer.model import StreamKey


async def read_letters(config: Config, streams: Sequence[StreamKey]) -> AsyncGenerator[tuple[Letter, bytes], None]:
    """Every dead letter that is kept, with its bytes, those of each partition in their order.

    Raises ``KafkaUnavailableError``; ``FatalError`` where there is no such topic.
    """
    topic, keys = config.topics.dead_letters, {str(key).encode() for key in streams}
    partitions = await partitions_of(config, topic)
    if not partitions:
        raise FatalError(f"there is no topic {topic}: nothing was ever published with this prefix")
    async with TopicScanner(config) as scanner:
        bounds = await scanner.bounds(topic, partitions)
        async for _, records in scanner.records(topic, {n: end for n, (_, end) in bounds.items()}):
            for record in records:
                if record.key in keys:
                    yield letter_in(record), record.value or b""


def letter_in(record: Any) -> Letter:
    """The dead letter that a record of aiokafka's is."""
    return letter_of(
        key=record.key,
        value=record.value or b"",
        headers=dict(record.headers),
        timestamp=record.timestamp,
        partition=record.partition,
        offset=record.offset,
    )
