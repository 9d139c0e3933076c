"""Kafka in memory, as far as a shard's producers see it.

``MemoryProducer`` stands where aiokafka's producer stands, below the real producers of a shard, and ``MemoryKafka``
keeps what a ``read_committed`` consumer would see. ``tests/contract/test_shard_producer.py`` holds it and a real broker
to one suite.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from aiokafka.errors import (
    CorrelationIdError,
    KafkaConnectionError,
    MessageSizeTooLargeError,
    ProducerClosed,
    ProducerFenced,
)
from aiokafka.record.memory_records import MemoryRecords

from streamer.core.partitioner import partition_of


class Record(NamedTuple):
    """A record as a consumer gets it."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp: int = 0

    @property
    def ce_id(self) -> str:
        return dict(self.headers)["ce_id"].decode()


class Trouble(enum.Enum):
    """What can befall a transaction."""

    BATCH_FAILS = "a batch fails"
    DIES_BEFORE_COMMIT = "the commit fails and had no effect"
    DIES_AFTER_COMMIT = "the commit takes effect and its answer is lost"
    FENCED = "the transactional id is taken over"


class _Transaction:
    """Whose records it holds; ``open``, ``committed`` or ``aborted``."""

    def __init__(self) -> None:
        self.outcome = "open"
        self.touched: set[tuple[str, int]] = set()


class MemoryKafka:
    """The topics. A transaction ends with a marker in each partition, which takes an offset as in Kafka."""

    def __init__(self, partitions: Mapping[str, int], *, max_message_bytes: int = 1_048_588) -> None:
        self.partitions = partitions
        self.max_message_bytes = max_message_bytes
        self.troubles: dict[int, Trouble] = {}
        """By number of the transaction, the first being 1."""
        self.batch_troubles: dict[int, Trouble] = {}
        """The same by number of the batch, for those sent without a transaction."""
        self.transactions = 0
        self.batches = 0
        self.committed_transactions = 0
        self.commit_seconds = 0.0
        self.is_down = False
        self.on_commit: Callable[[Sequence[tuple[str, Record]]], object] = lambda records: None  # noqa: ARG005
        self._logs: dict[tuple[str, int], list[tuple[Record | None, _Transaction]]] = {}
        self._epochs: dict[str, int] = {}
        self._open: dict[str, _Transaction] = {}

    def committed(self, topic: str) -> list[Record]:
        """What a ``read_committed`` consumer gets, partition by partition: nothing behind an open transaction."""
        records = []
        for partition in range(self.partitions[topic]):
            for record, transaction in self._log(topic, partition):
                if transaction.outcome == "open":
                    break
                if record is not None and transaction.outcome == "committed":
                    records.append(record)
        return records

    def put(self, topic: str, key: bytes, value: bytes | None) -> None:
        """A record of somebody else, committed."""
        transaction = _Transaction()
        partition = partition_of(key, self.partitions[topic])
        self.append(topic, partition, Record(partition, -1, key, value, ()), transaction)
        self._end(transaction, "committed")

    def make_anew(self, topic: str) -> None:
        """Somebody has deleted it and made another of the same name."""
        self._logs = {place: log for place, log in self._logs.items() if place[0] != topic}

    def producer(self, transactional_id: str) -> MemoryProducer:
        return MemoryProducer(self, transactional_id)

    def plain_producer(self) -> PlainMemoryProducer:
        """One without transactions."""
        return PlainMemoryProducer(self)

    def append_alone(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        """A batch outside any transaction: visible at once. Returns its first offset."""
        transaction = _Transaction()
        transaction.outcome = "committed"
        first = len(self._log(topic, partition))
        for record in records:
            self.append(topic, partition, record, transaction)
        self.on_commit(
            [(topic, record) for record, owner in self._log(topic, partition) if owner is transaction and record]
        )
        return first

    def register(self, transactional_id: str) -> int:
        """A new holder of the id: the last one is fenced and what it had open is aborted."""
        if self.is_down:
            raise KafkaConnectionError("no broker answers")
        self.abort(transactional_id)
        self._epochs[transactional_id] = self._epochs.get(transactional_id, -1) + 1
        return self._epochs[transactional_id]

    def check(self, transactional_id: str, epoch: int) -> None:
        if self._epochs[transactional_id] != epoch:
            raise ProducerFenced

    def begin(self, transactional_id: str) -> _Transaction:
        self.transactions += 1
        return self._open.setdefault(transactional_id, _Transaction())

    def append(self, topic: str, partition: int, record: Record, transaction: _Transaction) -> int:
        log = self._log(topic, partition)
        transaction.touched.add((topic, partition))
        log.append((record._replace(offset=len(log), partition=partition), transaction))
        return len(log) - 1

    def commit(self, transactional_id: str) -> None:
        transaction = self._open.pop(transactional_id)
        self.committed_transactions += 1
        self._end(transaction, "committed")
        self.on_commit(
            [
                (topic, record)
                for topic, partition in sorted(transaction.touched)
                for record, owner in self._log(topic, partition)
                if owner is transaction and record is not None
            ]
        )

    def abort(self, transactional_id: str) -> None:
        if (transaction := self._open.pop(transactional_id, None)) is not None:
            self._end(transaction, "aborted")

    def _end(self, transaction: _Transaction, outcome: str) -> None:
        transaction.outcome = outcome
        for topic, partition in transaction.touched:
            self._log(topic, partition).append((None, transaction))

    def _log(self, topic: str, partition: int) -> list[tuple[Record | None, _Transaction]]:
        return self._logs.setdefault((topic, partition), [])


class MemoryProducer:
    """What ``TransactionalProducer`` uses of an ``AIOKafkaProducer``."""

    def __init__(self, kafka: MemoryKafka, transactional_id: str) -> None:
        self.is_stopped = False
        self._kafka = kafka
        self._id = transactional_id
        self._epoch = -1
        self._trouble: Trouble | None = None
        self._transaction: _Transaction | None = None

    async def start(self) -> None:
        await asyncio.sleep(0)
        self._epoch = self._kafka.register(self._id)

    async def begin_transaction(self) -> None:
        assert not self.is_stopped
        self._transaction = self._kafka.begin(self._id)
        self._trouble = self._kafka.troubles.get(self._kafka.transactions)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        await asyncio.sleep(0)
        self._check()
        delivery: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        encoded = bytes(batch._build())
        if len(encoded) > self._kafka.max_message_bytes or self._trouble is Trouble.BATCH_FAILS:
            delivery.set_exception(MessageSizeTooLargeError())
        else:
            delivery.set_result(_Delivered(self._append(topic, partition, encoded)))
        return delivery

    def _append(self, topic: str, partition: int, encoded: bytes) -> int:
        assert self._transaction is not None
        offsets = [
            self._kafka.append(topic, partition, _as_read(r), self._transaction)
            for r in MemoryRecords(encoded).next_batch()
        ]
        return offsets[0]

    async def commit_transaction(self) -> None:
        await asyncio.sleep(self._kafka.commit_seconds)
        self._check()
        if self._trouble is Trouble.DIES_BEFORE_COMMIT:
            raise CorrelationIdError("the connection broke")
        self._kafka.commit(self._id)
        self._transaction = None
        if self._trouble is Trouble.DIES_AFTER_COMMIT:
            raise KafkaConnectionError("the connection broke")

    async def abort_transaction(self) -> None:
        self._check()
        self._kafka.abort(self._id)

    async def settle(self) -> None:
        """Nothing is left open here by a commit."""

    def all_were_read_but(self, last: int) -> None: ...

    async def stop(self) -> None:
        self.is_stopped = True

    def _check(self) -> None:
        self._kafka.check(self._id, self._epoch)
        if self._trouble is Trouble.FENCED:
            self._kafka.register(self._id)
            raise ProducerFenced


class PlainMemoryProducer:
    """What ``AcknowledgedProducer`` uses of an ``AIOKafkaProducer``."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self.is_stopped = False
        self._kafka = kafka

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self._kafka.is_down:
            raise KafkaConnectionError("no broker answers")

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        await asyncio.sleep(0)
        if self.is_stopped:
            raise ProducerClosed
        self._kafka.batches += 1
        trouble = self._kafka.batch_troubles.get(self._kafka.batches)
        delivery: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        encoded = bytes(batch._build())
        if len(encoded) > self._kafka.max_message_bytes or trouble is Trouble.BATCH_FAILS:
            delivery.set_exception(MessageSizeTooLargeError())
        elif trouble is Trouble.DIES_BEFORE_COMMIT:
            delivery.set_exception(CorrelationIdError("the connection broke"))
        else:
            read = [_as_read(r) for r in MemoryRecords(encoded).next_batch()]
            delivered = _Delivered(self._kafka.append_alone(topic, partition, read))
            # Taken by the broker; what is lost is the answer.
            lost = KafkaConnectionError("the connection broke") if trouble is Trouble.DIES_AFTER_COMMIT else None
            delivery.set_exception(lost) if lost else delivery.set_result(delivered)
        return delivery

    async def stop(self) -> None:
        self.is_stopped = True


def _as_read(record: Any) -> Record:
    """A record of a batch, not placed yet."""
    return Record(-1, -1, record.key, record.value, tuple(record.headers), record.timestamp)


class _Delivered(NamedTuple):
    offset: int


def json_of(value: bytes | None) -> dict[str, Any]:
    return msgspec.json.decode(value or b"", type=dict[str, Any])
