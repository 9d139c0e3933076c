"""Which partitions a transaction announces, beside those that it sends to; a seam to aiokafka's private parts.

A producer tells the coordinator of its transaction each partition that it writes to, before its first record there. The
coordinator writes the marker that ends the transaction to all that were announced, whether records came or not. Two
kinds of partitions are announced as a transaction begins:

* The checkpoint's. It is written last, once the offsets of the records are known, but where is known from the start.
  That saves a request of two to three ms.
* Those of the transactions before it of which nobody has read anything yet. A coordinator acknowledges a commit before
  its markers are there, and Kafka 4 leaves them out where a partition has no leader at that moment, since it takes its
  topic for deleted (measured on 4.3.0: all partitions of a broker that is alone, from when it is told to stop). Such
  transactions are open although they were acknowledged, and this producer's next end in a partition is theirs too.
  Announced together, they are committed together or aborted together, records and checkpoint alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation

MOST_UNREAD = 8
"""So many transactions are told apart. While one is sent the one before it is read, as a rule."""


class AnnouncingProducer(AIOKafkaProducer):  # type: ignore[misc]
    """A transactional producer; ``concluding`` is the checkpoint's partition, ``all_partitions`` may be written to."""

    def __init__(self, concluding: TopicPartition, all_partitions: Iterable[TopicPartition], **options: Any) -> None:
        super().__init__(**options)
        self._concluding = concluding
        self._all = set(all_partitions)
        self._written: set[TopicPartition] = set()
        """Where this transaction has sent something to."""
        self._unread: list[set[TopicPartition]] = []
        """The same of the transactions that were committed and have not been read yet, in their order."""

    async def begin_transaction(self) -> None:
        await super().begin_transaction()
        self._written = set()
        for partition in {self._concluding}.union(*self._unread):
            self._txn_manager.maybe_add_partition_to_txn(partition)

    async def commit_transaction(self) -> None:
        self._unread.append(self._written)
        if len(self._unread) > MOST_UNREAD:
            # Whoever reads is far behind, and may be for long: these two are told apart no more.
            self._unread[:2] = [self._unread[0] | self._unread[1]]
        await super().commit_transaction()

    def all_were_read_but(self, last: int) -> None:
        """The checkpoints of all committed transactions but the last so many were read: they have their markers."""
        del self._unread[: max(0, len(self._unread) - last)]

    async def settle(self) -> None:
        """Commit what an acknowledged transaction, of this producer's predecessors too, has left open anywhere."""
        self._unread.append(self._all)
        await self.begin_transaction()
        await super().commit_transaction()
        self._unread.clear()

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Raises what has ended the transaction, where aiokafka would only say that there is none.

        Whoever has fenced this producer may be met when partitions are announced, before anything is sent.
        """
        self._written.add(TopicPartition(topic, partition))
        try:
            delivery: asyncio.Future[Any] = await super().send_batch(batch, topic, partition=partition)
        except IllegalOperation:
            if self._txn_manager.is_fatal_error():
                await self._txn_manager.wait_for_transaction_end()
            raise
        return delivery
