"""Reads topics from their beginning to what was their end, for whoever proves something about all of a topic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streamer.config import Config
from streamer.errors import KafkaUnavailableError
from streamer.kafka.connection import (
    CALL_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
    answered_within,
    describe,
    reader_options,
    stopped_within,
)

_AT_ONCE_BYTES = 4 * 1024 * 1024
"""What a partition may hand over at once: more costs memory, less costs time (a fetch of 1 MiB: a third slower)."""

_WAIT_MS = 500


class TopicScanner:
    """One consumer without a group, ``read_committed``, for one topic after another."""

    def __init__(self, config: Config) -> None:
        self._consumer = AIOKafkaConsumer(**reader_options(config.kafka), max_partition_fetch_bytes=_AT_ONCE_BYTES)

    async def __aenter__(self) -> TopicScanner:
        async with answered_within(START_SECONDS, "starting the reader"):
            await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await stopped_within(STOP_SECONDS, self._consumer.stop())

    async def bounds(self, topic: str, partitions: int) -> dict[int, tuple[int, int]]:
        """First offset that is kept and end of what is committed, by partition. Raises ``KafkaUnavailableError``."""
        # Nothing is assigned for it: a broker answers behind a fetch, after half a second where nothing comes.
        places = [TopicPartition(topic, n) for n in range(partitions)]
        async with answered_within(CALL_SECONDS, f"asking for the ends of {topic}"):
            first = await self._consumer.beginning_offsets(places)
            ends = await self._consumer.end_offsets(places)
        return {place.partition: (first[place], ends[place]) for place in places}

    async def record(self, topic: str, partition: int, offset: int) -> Any | None:
        """The one record at this place; None where there is none. Raises ``KafkaUnavailableError``."""
        place = TopicPartition(topic, partition)
        async with answered_within(CALL_SECONDS, f"reading {topic}"):
            first = (await self._consumer.beginning_offsets([place]))[place]
            end = (await self._consumer.end_offsets([place]))[place]
            if not first <= offset < end:
                return None
            self._consumer.assign([place])
            self._consumer.seek(place, offset)
            fetched = await self._fetch([place], {place: offset})
            # Nobody wants what lies behind it.
            self._consumer.pause(place)
        records = fetched.get(place, ())
        return records[0] if records and records[0].offset == offset else None

    async def records(self, topic: str, ends: Mapping[int, int]) -> AsyncIterator[tuple[int, Sequence[Any]]]:
        """Every committed record below the ends, some of a partition at a time, in their order within it.

        Raises ``KafkaUnavailableError`` where nothing comes for 30 s.
        """
        left = {TopicPartition(topic, partition): end for partition, end in ends.items() if end > 0}
        if not left:
            return
        self._consumer.assign(list(left))
        async with answered_within(CALL_SECONDS, f"seeking the beginning of {topic}"):
            await self._consumer.seek_to_beginning(*left)
            await self._drop_finished(left)
        while left:
            before = dict(left), await self._positions(left)
            async with answered_within(CALL_SECONDS, f"reading {topic}"):
                fetched = await self._fetch(left, before[1])
            for place, records in fetched.items():
                end = ends[place.partition]
                yield place.partition, records if records[-1].offset < end else [r for r in records if r.offset < end]
            await self._drop_finished(left)

    async def _fetch(self, left: Iterable[TopicPartition], before: Mapping[TopicPartition, int]) -> dict[Any, Any]:
        """What there is, as soon as there is anything or a position has moved over what is no record."""
        while True:
            try:
                fetched: dict[Any, Any] = await self._consumer.getmany(*left, timeout_ms=_WAIT_MS)
            except KafkaError as error:
                raise KafkaUnavailableError(f"reading failed: {describe(error)}") from error
            if fetched or await self._positions(left) != before:
                return fetched
            await asyncio.sleep(0)

    async def _positions(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        async with answered_within(CALL_SECONDS, "asking for the place of the reader"):
            return {place: await self._consumer.position(place) for place in places}

    async def _drop_finished(self, left: dict[TopicPartition, int]) -> None:
        for place, position in (await self._positions(list(left))).items():
            if position >= left[place]:
                del left[place]
                self._consumer.pause(place)
