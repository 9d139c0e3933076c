"""Sending a block and looking at every delivery: what both kinds of a shard's producer have in common.

After any failed batch aiokafka's sequence numbers are off for that partition, for good, whether there are transactions
or not. So any trouble ends the producer: ``ProducerLostError``, and its owner starts another one, reads the checkpoint
back and goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced

from streamer.config import Config, KafkaConfig
from streamer.core.partitioner import partition_of
from streamer.core.record_format import encode_headers
from streamer.errors import FencedError, ProducerLostError
from streamer.kafka.batches import RecordBatches
from streamer.kafka.connection import START_SECONDS, STOP_SECONDS, answered_within, client_options, describe
from streamer.kafka.cutting_off import cut_off
from streamer.kafka.encoded_batches import AnyBatch, BatchFormat
from streamer.kafka.flat_requests import encode_produce_requests_flat
from streamer.kafka.next_transaction import begin_soon
from streamer.kafka.request_bytes import bound_requests
from streamer.kafka.topics import Topic

log = structlog.get_logger()

MAX_RECORDS_PER_PARTITION = 2**30
"""aiokafka's sequence numbers turn negative after 2**31 records, which Kafka rejects; well before, a new producer."""

BATCH_BYTES = 512 * 1024
"""A batch is closed at this size. aiokafka sends one batch of a partition at a time, so small ones cost a round trip
each; larger ones bring nothing on a network of a few milliseconds (measured)."""


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
"""Given where the block's records lie, the messages that conclude it, the checkpoint last."""


Confirm = Callable[[], Awaitable[None]]
"""Returns where the shard is owned and its checkpoints, read to their end, tell of no later owner.

Raises ``NotOwnerError``, ``KafkaUnavailableError``, or ``FencedError`` where somebody else has taken it over.
"""


class ShardProducer(Protocol):
    """Writes the blocks of one shard, one at a time."""

    async def start(self) -> None:
        """Connect, and keep off whoever wrote to the shard before, where the brokers can do that; within 60 s.

        Raises ``KafkaUnavailableError``; the producer is then of no use any more and is to be closed.
        """

    async def settle(self) -> None:
        """End what an acknowledged block has left open, so that all of it is there for consumers; within 60 s.

        To be called before the first block, where something is open although ``start`` has returned. Raises
        ``KafkaUnavailableError``, as ``start`` does.
        """

    def all_were_read_but(self, last: int) -> None:
        """A consumer has read all published blocks but the last so many."""

    def new_batches(self) -> RecordBatches:
        """An encoder for the next block; may be filled while another block is being published."""

    async def publish(
        self,
        conclude: Conclusion,
        *,
        topic: str | None = None,
        batches: RecordBatches | None = None,
        messages: Sequence[Message] = (),
    ) -> None:
        """``batches`` to ``topic`` and ``messages``, then what ``conclude`` makes of their offsets.

        Returns once all of it is there for consumers. Raises ``ProducerLostError`` (``FencedError``) for everything
        else; what is there is then open. Must not be called again before it has returned.
        """

    async def close(self) -> None:
        """Stop, within limits. Never raises for Kafka's sake; may be called at any time."""


class Sending:
    """One aiokafka producer, and whether it is still of use.

    ``partitions`` is the number of partitions of each topic that messages go to, ``seconds`` the deadline of each step
    of a block, and ``milliseconds`` the time that records are stamped with.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        *,
        format: BatchFormat,
        partitions: Mapping[str, int],
        seconds: float,
        milliseconds: Callable[[], int],
    ) -> None:
        self.lost = False
        """Set at the first trouble, for good."""
        self._producer = producer
        self._format = format
        self._partitions = partitions
        self._seconds = seconds
        self._milliseconds = milliseconds
        self._sent: dict[tuple[str, int], int] = {}

    async def start(self, what: str) -> None:
        """Start within 60 s. Raises ``KafkaUnavailableError``."""
        async with answered_within(START_SECONDS, what):
            await self._producer.start()

    def new_batches(self) -> RecordBatches:
        return RecordBatches(timestamp=self._milliseconds(), format=self._format)

    @contextlib.asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Around the publishing of a block: whatever goes wrong within, a cancellation too, ends this producer."""
        if self.lost:
            raise ProducerLostError("the producer has been given up")
        self.lost = True
        with _translated():
            yield
        self.lost = max(self._sent.values(), default=0) > MAX_RECORDS_PER_PARTITION

    @contextlib.asynccontextmanager
    async def deadline(self, what: str) -> AsyncIterator[None]:
        """Around one step of a block."""
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except TimeoutError as error:
            raise ProducerLostError(f"{what} took longer than {self._seconds:g} s") from error

    async def send_batches(self, topic: str, batches: RecordBatches) -> dict[int, Offsets]:
        """Send and await all deliveries: one feeder to a partition, since aiokafka holds one batch for each.

        The batches are taken out as they are sent: after a failure nothing of them is sent again.
        """
        offsets: dict[int, Offsets] = {}

        async def feed(partition: int, builders: list[AnyBatch]) -> None:
            deliveries = []
            while builders:
                builder = builders.pop(0)
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

    async def send_messages(self, messages: Iterable[Message]) -> None:
        """Send, in order within each topic, and await all deliveries."""
        by_topic: dict[str, RecordBatches] = {}
        for message in messages:
            batches = by_topic.setdefault(message.topic, self.new_batches())
            partition = partition_of(message.key, self._partitions[message.topic])
            batches.append(partition, message.key, message.value, encode_headers(message.headers))
        for batches in by_topic.values():
            await batches.prepare()
        await _all(self.send_batches(topic, batches) for topic, batches in by_topic.items())

    async def end(self, call: Awaitable[None], what: str) -> bool:
        """Await one of the calls that close a producer, for at most 10 s; whether it came to its end."""
        self.lost = True
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await call
        except TimeoutError:
            log.warning("producer_left_behind", during=what, seconds=STOP_SECONDS)
            return False
        # An abort of a transaction that is committing is an AssertionError in aiokafka; the next start settles it.
        except (KafkaError, AssertionError) as error:
            log.info("producer_closed_uncleanly", during=what, reason=describe(error))
            return False
        return True

    async def stop(self) -> None:
        """Stop within 20 s; where the brokers don't let it within ten, drop everything."""
        if not await self.end(self._producer.stop(), "stop"):
            await self.end(cut_off(self._producer), "cutting off")

    def _count(self, topic: str, partition: int, records: int) -> None:
        self._sent[topic, partition] = self._sent.get((topic, partition), 0) + records


def producer_options(config: KafkaConfig) -> dict[str, Any]:
    """Keyword arguments that the aiokafka producer of a shard takes, of either kind; sets up what has none."""
    encode_produce_requests_flat()
    begin_soon()
    bound_requests()
    return client_options(config)


def batch_format(config: Config, topics: Mapping[str, Topic], *, transactional: bool) -> BatchFormat:
    """How the batches of such a producer are encoded."""
    # What a topic limits is the batch, so the strictest topic decides.
    batch_bytes = min(BATCH_BYTES, *(topic.max_message_bytes for topic in topics.values()))
    return BatchFormat(batch_bytes=batch_bytes, zstd=config.kafka.compression == "zstd", transactional=transactional)


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
    """aiokafka's errors as ours. Calls in a wrong state are AssertionErrors there, or no KafkaErrors at least."""
    try:
        yield
    except ProducerFenced as error:
        raise FencedError("the transactional id was taken over, or its transaction timed out") from error
    except (KafkaError, IllegalOperation, AssertionError) as error:
        raise ProducerLostError(f"a block could not be published: {describe(error)}") from error
