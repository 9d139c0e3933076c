"""The transactional producer of one shard: a block, its events and its checkpoint, all or nothing.

What a newcomer would get wrong, all of it measured on Kafka 4.3 with aiokafka 0.14:

* ``commit_transaction`` commits although a batch of the transaction failed. So every delivery is awaited and looked
  at before the commit.
* After any failed batch the producer's sequence numbers are off for that partition, for good. After a commit that
  did not return nobody but the topic knows its outcome. So any trouble ends this producer: ``ProducerLostError``,
  and its owner starts another one, reads the checkpoint back and goes on from there.
* ``start`` is what fences the shard's last owner and settles the transaction that it left open.
* ``abort`` and ``stop`` hang as long as the broker does. So each has a deadline, and a producer that does not stop is
  left to itself: the next ``start`` of the same id ends whatever it had open.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced

from streamer.config import Config
from streamer.core.partitioner import partition_of
from streamer.errors import FencedError, ProducerLostError
from streamer.kafka.batches import RecordBatches
from streamer.kafka.compression import compress_quickly
from streamer.kafka.connection import START_SECONDS, STOP_SECONDS, answered_within, client_options, describe
from streamer.kafka.flat_requests import encode_produce_requests_flat
from streamer.kafka.topics import Topic
from streamer.model import Shard

log = structlog.get_logger()

MAX_RECORDS_PER_PARTITION = 2**30
"""aiokafka's sequence numbers turn negative after 2**31 records, which Kafka rejects; well before, a new producer."""


class Message(msgspec.Struct, frozen=True):
    """A single record that goes with a block: an event, a dead letter, the checkpoint."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Offsets(msgspec.Struct, frozen=True):
    """Where the records of a block lie in one partition; ``end`` is one past the last of them."""

    start: int
    end: int


Conclusion = Callable[[Mapping[int, Offsets]], Sequence[Message]]
"""Given where the block's records lie, the messages that conclude the transaction, the checkpoint last."""


class ShardProducer:
    """Writes the transactions of one shard, one at a time.

    ``partitions`` is the number of partitions of each topic that messages go to, ``transaction_seconds`` the deadline
    of each step of a transaction, and ``milliseconds`` the time that records are stamped with.
    """

    def __init__(
        self,
        new_producer: Callable[[], AIOKafkaProducer],
        *,
        partitions: Mapping[str, int],
        transaction_seconds: float,
        milliseconds: Callable[[], int],
    ) -> None:
        self._producer = new_producer()
        self._partitions = partitions
        self._transaction_seconds = transaction_seconds
        self._milliseconds = milliseconds
        self._in_transaction = False
        self._lost = False
        self._sent: dict[tuple[str, int], int] = {}

    async def start(self) -> None:
        """Take over the transactional id: fences its last holder and settles what it had open, within 60 s.

        Raises ``KafkaUnavailableError``; the producer is then of no use any more and is to be closed.
        """
        async with answered_within(START_SECONDS, "starting a transactional producer"):
            await self._producer.start()

    def new_batches(self) -> RecordBatches:
        """An encoder for the next block; may be filled while a transaction is under way."""
        return RecordBatches(self._producer.create_batch, timestamp=self._milliseconds())

    async def publish(
        self,
        conclude: Conclusion,
        *,
        topic: str | None = None,
        batches: RecordBatches | None = None,
        messages: Sequence[Message] = (),
    ) -> None:
        """One transaction: ``batches`` to ``topic`` and ``messages``, then what ``conclude`` makes of their offsets.

        Returns once it is committed. Raises ``ProducerLostError`` (``FencedError``) for everything else; whether it
        was committed is then open. Must not be called again before it has returned.
        """
        if self._lost:
            raise ProducerLostError("the producer has been given up")
        self._lost = True
        with _translated():
            await self._transaction(conclude, topic, batches, messages)
        self._lost = max(self._sent.values(), default=0) > MAX_RECORDS_PER_PARTITION

    async def _transaction(
        self,
        conclude: Conclusion,
        topic: str | None,
        batches: RecordBatches | None,
        messages: Sequence[Message],
    ) -> None:
        async with self._deadline("beginning"):
            await self._producer.begin_transaction()
        self._in_transaction = True
        async with self._deadline("sending"):
            offsets = await self._send_batches(topic, batches) if topic and batches else {}
            await self._send_messages(messages)
            await self._send_messages(conclude(offsets))
        async with self._deadline("committing"):
            await self._producer.commit_transaction()
        self._in_transaction = False

    async def _send_batches(self, topic: str, batches: RecordBatches) -> dict[int, Offsets]:
        """Send and await all deliveries: one feeder to a partition, since aiokafka holds one batch for each."""
        offsets: dict[int, Offsets] = {}

        async def feed(partition: int, builders: Sequence[Any]) -> None:
            deliveries = []
            for builder in builders:
                records = builder.record_count()
                delivery = await self._producer.send_batch(builder, topic, partition=partition)
                # Where another batch fails first, nobody asks for this one's error any more.
                delivery.add_done_callback(_looked_at)
                deliveries.append((delivery, records))
                self._count(topic, partition, records)
            placed = [(await _offset_of(delivery), records) for delivery, records in deliveries]
            offsets[partition] = Offsets(start=placed[0][0], end=placed[-1][0] + placed[-1][1])

        await _all(feed(partition, builders) for partition, builders in batches.close().items())
        return offsets

    async def _send_messages(self, messages: Sequence[Message]) -> None:
        """Send, in order within each topic, and await all deliveries."""
        by_topic: dict[str, RecordBatches] = {}
        for message in messages:
            batches = by_topic.setdefault(message.topic, self.new_batches())
            partition = partition_of(message.key, self._partitions[message.topic])
            batches.append(partition, message.key, message.value, list(message.headers))
        await _all(self._send_batches(topic, batches) for topic, batches in by_topic.items())

    def _count(self, topic: str, partition: int, records: int) -> None:
        self._sent[topic, partition] = self._sent.get((topic, partition), 0) + records

    @contextlib.asynccontextmanager
    async def _deadline(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._transaction_seconds):
                yield
        except TimeoutError as error:
            limit = self._transaction_seconds
            raise ProducerLostError(f"{what} a transaction took longer than {limit:g} s") from error

    async def close(self) -> None:
        """Abort what is open and stop, each within 10 s. Never raises for Kafka's sake; may be called at any time."""
        self._lost = True
        if self._in_transaction:
            await self._within_limit(self._producer.abort_transaction(), "abort")
        await self._within_limit(self._producer.stop(), "stop")

    async def _within_limit(self, call: Awaitable[None], what: str) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await call
        except TimeoutError:
            log.warning("producer_left_behind", during=what, seconds=STOP_SECONDS)
        # An abort of a transaction that is committing is an AssertionError in aiokafka; the next start settles it.
        except (KafkaError, AssertionError) as error:
            log.info("producer_closed_uncleanly", during=what, reason=describe(error))


def _looked_at(delivery: asyncio.Future[Any]) -> None:
    if not delivery.cancelled():
        delivery.exception()


async def _offset_of(delivery: Awaitable[Any]) -> int:
    """The first offset of a delivered batch.

    A batch that Kafka had taken already, on a try whose answer got lost, is reported without one: the block has to be
    sent anew, because ``export_completed`` promises the offsets.
    """
    offset: int = (await delivery).offset
    if offset < 0:
        raise ProducerLostError("a batch was delivered without an offset")
    return offset


async def _all(calls: Any) -> None:
    """Run together; the first failure ends the others and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


@contextlib.contextmanager
def _translated() -> Any:
    """aiokafka's errors as ours. Wrong-state calls inside aiokafka are AssertionErrors."""
    try:
        yield
    except ProducerFenced as error:
        raise FencedError("the transactional id was taken over, or its transaction timed out") from error
    except (KafkaError, AssertionError) as error:
        raise ProducerLostError(f"a transaction failed: {describe(error)}") from error


BATCH_BYTES = 512 * 1024
"""A batch is closed at this size. aiokafka sends one batch of a partition at a time, so small ones cost a round trip
each; larger ones bring nothing on a network of a few milliseconds (measured)."""


def shard_producer(
    config: Config, topics: Mapping[str, Topic], shard: Shard, *, milliseconds: Callable[[], int]
) -> ShardProducer:
    """An unstarted producer of a shard, with the shard's transactional id, which stays the same for ever."""

    encode_produce_requests_flat()
    compress_quickly()

    def new_producer() -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **client_options(config.kafka),
            transactional_id=config.topics.transactional_id(shard),
            transaction_timeout_ms=int(config.kafka.transaction_timeout.total_seconds() * 1000),
            compression_type=None if config.kafka.compression == "none" else config.kafka.compression,
            # What a topic limits is the batch, so the strictest topic decides.
            max_batch_size=min(BATCH_BYTES, *(topic.max_message_bytes for topic in topics.values())),
        )

    return ShardProducer(
        new_producer,
        partitions={name: topic.partitions for name, topic in topics.items()},
        transaction_seconds=config.kafka.transaction_timeout.total_seconds(),
        milliseconds=milliseconds,
    )
