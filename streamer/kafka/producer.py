"""The transactional producer of one shard: a block, its events and its checkpoint, all or nothing.

What a newcomer would get wrong, all of it measured on Kafka 4.3 with aiokafka 0.14:

* ``commit_transaction`` commits although a batch of the transaction failed. So every delivery is awaited and looked
  at before the commit.
* After a commit that did not return nobody but the topic knows its outcome. So that ends the producer too.
* ``start`` is what fences the shard's last owner and settles the transaction that it left open, but not one that was
  acknowledged and whose markers are missing (``announcing.py``). So there is ``settle``.
* ``abort`` and ``stop`` hang as long as the broker does. So each has a deadline, and a producer that does not stop is
  left to itself: the next ``start`` of the same id ends whatever it had open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiokafka import AIOKafkaProducer, TopicPartition

from streamer.config import Config
from streamer.kafka.announcing import AnnouncingProducer
from streamer.kafka.batches import RecordBatches
from streamer.kafka.connection import START_SECONDS, answered_within
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.sending import Conclusion as Conclusion
from streamer.kafka.sending import Message as Message
from streamer.kafka.sending import Offsets as Offsets
from streamer.kafka.sending import Sending, batch_format, producer_options
from streamer.kafka.sending import ShardProducer as ShardProducer
from streamer.kafka.topics import Topic
from streamer.model import Shard


class TransactionalProducer:
    """A ``ShardProducer`` that makes a block one transaction. ``transaction_seconds`` is the deadline of each step.

    ``new_producer`` makes an ``AnnouncingProducer``, or what stands for one.
    """

    def __init__(
        self,
        new_producer: Callable[[], AIOKafkaProducer],
        *,
        format: BatchFormat,
        partitions: Mapping[str, int],
        transaction_seconds: float,
        milliseconds: Callable[[], int],
    ) -> None:
        self._producer = new_producer()
        self._sending = Sending(
            self._producer,
            format=format,
            partitions=partitions,
            seconds=transaction_seconds,
            milliseconds=milliseconds,
        )
        self._in_transaction = False

    async def start(self) -> None:
        """Take over the transactional id: fences its last holder and settles what it had open."""
        await self._sending.start("starting a transactional producer")

    async def settle(self) -> None:
        async with answered_within(START_SECONDS, "ending what an acknowledged transaction has left open"):
            await self._producer.settle()

    def all_were_read_but(self, last: int) -> None:
        self._producer.all_were_read_but(last)

    def new_batches(self) -> RecordBatches:
        return self._sending.new_batches()

    async def publish(
        self,
        conclude: Conclusion,
        *,
        topic: str | None = None,
        batches: RecordBatches | None = None,
        messages: Sequence[Message] = (),
    ) -> None:
        """One transaction. After an error, whether it was committed is open."""
        sending = self._sending
        async with sending.attempt():
            if batches is not None:
                await batches.prepare()
            async with sending.deadline("beginning a transaction"):
                await self._producer.begin_transaction()
            self._in_transaction = True
            async with sending.deadline("sending a transaction"):
                offsets = await sending.send_batches(topic, batches) if topic and batches else {}
                await sending.send_messages(messages)
                await sending.send_messages(conclude(offsets))
            async with sending.deadline("committing a transaction"):
                await self._producer.commit_transaction()
            self._in_transaction = False

    async def close(self) -> None:
        """Abort what is open, within 10 s, and stop, within twenty."""
        if self._in_transaction:
            await self._sending.end(self._producer.abort_transaction(), "abort")
        await self._sending.stop()


def shard_producer(
    config: Config, topics: Mapping[str, Topic], shard: Shard, *, milliseconds: Callable[[], int]
) -> TransactionalProducer:
    """An unstarted producer of a shard, with the shard's transactional id, which stays the same for ever."""
    timeout = config.kafka.transaction_timeout.total_seconds()

    checkpoints = TopicPartition(config.topics.checkpoints, shard)
    others = [
        TopicPartition(name, partition)
        for name, topic in topics.items()
        if name not in {config.topics.checkpoints, config.topics.signals}
        for partition in range(topic.partitions)
    ]

    def new_producer() -> AnnouncingProducer:
        return AnnouncingProducer(
            checkpoints,
            others,
            **producer_options(config.kafka),
            transactional_id=config.topics.transactional_id(shard),
            transaction_timeout_ms=int(timeout * 1000),
        )

    return TransactionalProducer(
        new_producer,
        format=batch_format(config, topics, transactional=True),
        partitions={name: topic.partitions for name, topic in topics.items()},
        transaction_seconds=timeout,
        milliseconds=milliseconds,
    )
