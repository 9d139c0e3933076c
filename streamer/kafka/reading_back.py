"""Reads an entity topic back: what it says already, of one source, up to where it ended after the producer's start.

It fetches by itself instead of through aiokafka's consumer, which makes an object of each record and hands out one
partition's worth of one answer at a time (measured: docs/performance.md). What is used of aiokafka are its connections,
its metadata, and the class that leaves out aborted transactions and markers; a test holds this to what a consumer of
another library sees.

Ends are high watermarks. A reader of committed records gets less far while a transaction is open, so ``slices`` waits
until everything before the end is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from itertools import compress, islice
from typing import Any, Final, Self

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import (
    KafkaConnectionError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NoError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from streamer.config import KafkaConfig
from streamer.kafka.connection import (
    CALL_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
    answered_within,
    client_options,
    describe,
    stopped_within,
)

log = structlog.get_logger()

_FETCH_BYTES: Final = 1024 * 1024
"""Asked for at a time; compressed entities become some six times as much."""

_FETCH_WAIT_MS: Final = 100
_SLICE_RECORDS: Final = 1024
"""So many records at a time, then the loop is given up: some 5 ms."""

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


class Slice(msgspec.Struct):
    """Some records of a partition, in the order of their offsets; columns of equal length, without foreign records,
    but for those that make a key theirs.
    """

    keys: list[bytes]
    values: list[bytes | None]
    timestamps: list[int]
    """Milliseconds since 1970."""
    foreign: int
    """How many records between these are of somebody else."""


class Source(msgspec.Struct, frozen=True):
    """Whose records are read back.

    ``header`` is the value of ``ce_source``. ``or_none``: records without that header are ours too, which is so where
    records have no headers and nobody else writes to the topic. ``gives_way``: what somebody else has written later
    under a key of ours makes it theirs; it is read like a tombstone.
    """

    header: bytes
    or_none: bool = False
    gives_way: bool = False

    def has(self, headers: Sequence[tuple[str, bytes]]) -> bool:
        """Whether a record with these headers is ours."""
        if ("ce_source", self.header) in headers:
            return True
        return self.or_none and not any(name == "ce_source" for name, _ in headers)


class TopicReader:
    """Reads topics back, as an asynchronous context manager: connected within it."""

    def __init__(self, config: KafkaConfig) -> None:
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

        Raises ``KafkaUnavailableError`` where nothing comes for half a minute.
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
                while records := list(islice(fetched.records, _SLICE_RECORDS)):
                    yield slice_of(records, source)
                    await asyncio.sleep(0)
                if fetched.next_offset >= ends.end:
                    return
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    async def _fetched(self, place: TopicPartition, offset: int) -> _Fetched:
        """What lies at the offset, once anything does; patient with leaders that move."""
        async with answered_within(CALL_SECONDS, f"reading {place.topic} back"):
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
        ((_, ((_, code, _highwater, *rest),)),) = response.topics
        error = for_code(code)
        if error is not NoError:
            raise error()
        aborted = rest[2] if response.API_VERSION >= 11 else rest[-2]
        raw = rest[-1]
        next_offset = _next_offset(raw, offset)
        if next_offset == offset:
            return None
        decoded = _Records(place, MemoryRecords(raw), aborted, offset, None, None, True, READ_COMMITTED)
        return _Fetched(decoded._records_iterator, next_offset)


class _Fetched(msgspec.Struct):
    """One answer of a broker; ``records`` are decoded as they are asked for."""

    records: Iterator[Any]
    next_offset: int


def _next_offset(raw: bytes, offset: int) -> int:
    """Where the next fetch begins: told by the heads of the batches, so before any is decoded."""
    batches = MemoryRecords(raw)
    while batches.has_next():
        offset = batches.next_batch().next_offset
    return offset


class _Records(PartitionRecords):  # type: ignore[misc]
    """Records as they are decoded, without an object of the consumer's around each."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Any:  # noqa: ARG002
        return record


def slice_of(records: Sequence[Any], source: Source) -> Slice:
    """What of these records counts, from wherever they come."""
    keyed = [record for record in records if record.key is not None]
    own = [source.has(record.headers) for record in keyed]
    counts = keyed if source.gives_way else list(compress(keyed, own))
    return Slice(
        keys=[record.key for record in counts],
        values=(
            [record.value if ours else None for record, ours in zip(keyed, own, strict=True)]
            if source.gives_way
            else [record.value for record in counts]
        ),
        timestamps=[record.timestamp for record in counts],
        foreign=len(records) - sum(own),
    )
