"""Reads the dead letters of some streams back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from streamer.config import Config
from streamer.core.letters import Letter, letter_of
from streamer.errors import FatalError
from streamer.kafka.scanning import TopicScanner
from streamer.kafka.topics import TopicAdmin
from streamer.model import StreamKey


async def read_letters(config: Config, streams: Sequence[StreamKey]) -> AsyncGenerator[tuple[Letter, bytes], None]:
    """Every dead letter that is kept, with its bytes, those of each partition in their order.

    Raises ``KafkaUnavailableError``; ``FatalError`` where there is no such topic.
    """
    topic, keys = config.topics.dead_letters, {str(key).encode() for key in streams}
    admin = await TopicAdmin.connect(config)
    try:
        found = (await admin.describe([topic])).get(topic)
    finally:
        await admin.close()
    if found is None:
        raise FatalError(f"there is no topic {topic}: nothing was ever published with this prefix")
    async with TopicScanner(config) as scanner:
        bounds = await scanner.bounds(topic, found.partitions)
        async for partition, records in scanner.records(topic, {n: end for n, (_, end) in bounds.items()}):
            for record in records:
                if record.key in keys:
                    value = record.value or b""
                    letter = letter_of(
                        key=record.key,
                        value=value,
                        headers=dict(record.headers),
                        timestamp=record.timestamp,
                        partition=partition,
                        offset=record.offset,
                    )
                    yield letter, value
