"""Reads an entity topic back: what it says already, of one source, up to where it ended after the producer's start.

It fetches by itself instead of through aiokafka's consumer, which makes an object of each record and hands out one
partition's worth of one answer at a time (measured: docs/performance.md). What is used of aiokafka are its connections,
its metadata, and in ``decoding`` the class that leaves out aborted transactions and markers; a test holds this to what
a consumer of another library sees.

Ends are high watermarks. A reader of committed records gets less far while a transaction is open, so ``slices`` waits
until everything before the end is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Final, Self

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NoError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest

from streamer.config import KafkaConfig
from streamer.errors import KafkaUnavailableError
from streamer.kafka.connection import (
    CALL_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
    answered_within,
    client_options,
    describe,
    stopped_within,
)
from streamer.kafka.decoding import Batch, Slice, Source, committed, decoder, next_offset

log = structlog.get_logger()

_FETCH_BYTES: Final = 1024 * 1024
"""Asked for at a time; compressed entities become some six times as much."""

_FETCH_WAIT_MS: Final = 100
_ASK_AGAIN_SECONDS: Final = 0.1
_PASSING = (
    KafkaConnectionError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
)


class Ends(msgspec.Struct, frozen=True):
    """Where a partition begins and ends: ``end`` is one past the last offset that anybody has written."""

    start: int
    end: int


class TopicReader:
    """Reads topics back, as an asynchronous context manager: connected within it.

    By the ``kernel`` where it is installed and wanted.
    """

    def __init__(self, config: KafkaConfig, *, kernel: bool) -> None:
        self._decoded = decoder(kernel=kernel)
        self._throttled = False
        """Whether a quota has held it back, which is told once."""
        self._consumer = AIOKafkaConsumer(
            **client_options(config), enable_auto_commit=False, isolation_level="read_uncommitted"
        )

    async def __aenter__(self) -> Self:
        try:
            async with answered_within(START_SECONDS, "starting to read a topic back"):
                await self._consumer.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if problem := await stopped_within(STOP_SECONDS, self._consumer.stop()):
            log.warning("topic_reader_left_behind", reason=problem)

    async def ends(self, topic: str, partitions: int, *, since: int | None = None) -> Mapping[int, Ends]:
        """Where each partition begins and ends now; without what is older than ``since``, in milliseconds since 1970.

        Raises ``KafkaUnavailableError``.
        """
        wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
        async with answered_within(CALL_SECONDS, f"asking where {topic} ends"):
            ends = await self._consumer.end_offsets(wanted)
            if since is None:
                starts = await self._consumer.beginning_offsets(wanted)
            else:
                found = await self._consumer.offsets_for_times(dict.fromkeys(wanted, since))
                starts = {place: ends[place] if at is None else at.offset for place, at in found.items()}
        return {place.partition: Ends(starts[place], ends[place]) for place in wanted}

    async def slices(self, topic: str, partition: int, ends: Ends, source: Source) -> AsyncGenerator[Slice, None]:
        """The committed records of the source between the ends, and perhaps some behind them.

        Raises ``KafkaUnavailableError`` where nothing comes for half a minute, but for the waits of a quota.
        """
        place = TopicPartition(topic, partition)
        if ends.start >= ends.end:
            return
        fetching = asyncio.ensure_future(self._fetched(place, ends.start))
        try:
            while True:
                fetched = await fetching
                if fetched.next_offset < ends.end:
                    # On its way while this one is decoded.
                    fetching = asyncio.ensure_future(self._fetched(place, fetched.next_offset))
                for some in self._readable(fetched.batches, source, place):
                    yield some
                    await asyncio.sleep(0)
                if fetched.next_offset >= ends.end:
                    return
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    def _readable(self, batches: Iterator[Batch], source: Source, place: TopicPartition) -> Iterator[Slice]:
        """The batches decoded. One that can't be read is the broker's trouble, as is one that can't be had."""
        try:
            yield from self._decoded(batches, source)
        except KafkaError as error:
            raise KafkaUnavailableError(f"{place.topic} can't be read back: {describe(error)}") from error

    async def _fetched(self, place: TopicPartition, offset: int) -> _Fetched:
        """What lies at the offset, once anything does; patient with leaders that move, and with quotas."""
        while True:
            try:
                async with answered_within(CALL_SECONDS, f"reading {place.topic} back"):
                    return await self._patiently(place, offset)
            except _ThrottledError as error:
                if not self._throttled:
                    log.info("read_back_throttled", topic=place.topic, seconds=error.seconds)
                    self._throttled = True
                await asyncio.sleep(max(error.seconds, _ASK_AGAIN_SECONDS))

    async def _patiently(self, place: TopicPartition, offset: int) -> _Fetched:
        while True:
            try:
                fetched = await self._fetch(place, offset)
            except _PASSING as error:
                log.debug("read_back_again", reason=describe(error))
                await self._consumer._client.force_metadata_update()
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
            else:
                if fetched is not None:
                    return fetched

    async def _fetch(self, place: TopicPartition, offset: int) -> _Fetched | None:
        client = self._consumer._client
        leader = client.cluster.leader_for_partition(place)
        if leader is None or leader == -1:
            raise LeaderNotAvailableError
        request = FetchRequest(
            _FETCH_WAIT_MS,
            1,
            _FETCH_BYTES,
            READ_COMMITTED,
            [(place.topic, [(place.partition, offset, _FETCH_BYTES)])],
        )
        response = await client.send(leader, request)
        if not response.topics:
            raise _ThrottledError(response.throttle_time_ms / 1000)
        ((_, ((_, code, _highwater, *rest),)),) = response.topics
        error = for_code(code)
        if error is not NoError:
            raise error()
        aborted = rest[2] if response.API_VERSION >= 11 else rest[-2]
        raw = rest[-1]
        after = next_offset(raw, offset)
        if after == offset:
            return None
        return _Fetched(committed(place, raw, aborted, offset), after)


class _ThrottledError(Exception):
    """The reader's quota is used up: the broker answers with nothing, and with when to ask again (KIP-219)."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class _Fetched(msgspec.Struct):
    """One answer of a broker; its committed ``batches`` are looked at as they are asked for."""

    batches: Iterator[Batch]
    next_offset: int
