"""Kafka, Mews and the group in memory, as far as the service sees them.

``MemoryProducer`` stands where aiokafka's producer stands, below the real producers of a shard, and ``MemoryKafka``
keeps what a ``read_committed`` consumer would see. ``tests/contract/test_shard_producer.py`` holds it and a real broker
to one suite.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from aiokafka.errors import (
    CorrelationIdError,
    KafkaConnectionError,
    MessageSizeTooLargeError,
    ProducerClosed,
    ProducerFenced,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streamer.core.checkpoint import CheckpointError, decode_checkpoint
from streamer.core.partitioner import partition_of
from streamer.core.scope import Scope
from streamer.errors import RetriableError
from streamer.kafka.checkpoints import Entry, prevailing
from streamer.kafka.reading_back import Ends, Slice, Source, slice_of
from streamer.mews.api import Accepted
from streamer.model import EntityType, Export, ExportFile, ExportId, ExportStatus, Link, Shard, Window


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

    def producer(self, transactional_id: str, *, max_batch_size: int = 512 * 1024) -> MemoryProducer:
        return MemoryProducer(self, transactional_id, max_batch_size=max_batch_size)

    def plain_producer(self, *, max_batch_size: int = 512 * 1024) -> PlainMemoryProducer:
        """One without transactions."""
        return PlainMemoryProducer(self, max_batch_size=max_batch_size)

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

    def __init__(self, kafka: MemoryKafka, transactional_id: str, *, max_batch_size: int) -> None:
        self.is_stopped = False
        self._kafka = kafka
        self._id = transactional_id
        self._max_batch_size = max_batch_size
        self._epoch = -1
        self._trouble: Trouble | None = None
        self._transaction: _Transaction | None = None

    async def start(self) -> None:
        await asyncio.sleep(0)
        self._epoch = self._kafka.register(self._id)

    def create_batch(self) -> Any:
        return BatchBuilder(self._max_batch_size, 0)

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

    async def stop(self) -> None:
        self.is_stopped = True

    def _check(self) -> None:
        self._kafka.check(self._id, self._epoch)
        if self._trouble is Trouble.FENCED:
            self._kafka.register(self._id)
            raise ProducerFenced


class PlainMemoryProducer:
    """What ``AcknowledgedProducer`` uses of an ``AIOKafkaProducer``."""

    def __init__(self, kafka: MemoryKafka, *, max_batch_size: int) -> None:
        self.is_stopped = False
        self._kafka = kafka
        self._max_batch_size = max_batch_size

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self._kafka.is_down:
            raise KafkaConnectionError("no broker answers")

    def create_batch(self) -> Any:
        return BatchBuilder(self._max_batch_size, 0)

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


class MemoryTopicReader:
    """Reads a topic back, ``slice_records`` at a time; ``on_slice`` is called at each."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self.slice_records = 3
        self.reads: list[str] = []
        self.on_slice: Callable[[], object] = lambda: None
        self.troubles: list[Exception] = []
        self._kafka = kafka

    async def __aenter__(self) -> MemoryTopicReader:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def ends(self, topic: str, partitions: int, *, since: int | None = None) -> Mapping[int, Ends]:
        await asyncio.sleep(0)
        self.reads.append(topic)
        if self.troubles:
            raise self.troubles.pop(0)
        found = {}
        for partition in range(partitions):
            records = self._records(topic, partition)
            recent = [record.offset for record in records if record.timestamp >= (since or 0)]
            end = records[-1].offset + 1 if records else 0
            found[partition] = Ends(recent[0] if recent else end, end)
        return found

    async def slices(self, topic: str, partition: int, ends: Ends, source: Source) -> AsyncGenerator[Slice, None]:
        within = [r for r in self._records(topic, partition) if ends.start <= r.offset < ends.end]
        for start in range(0, len(within), self.slice_records):
            await asyncio.sleep(0)
            self.on_slice()
            yield slice_of(within[start : start + self.slice_records], source)

    def _records(self, topic: str, partition: int) -> list[Record]:
        return [record for record in self._kafka.committed(topic) if record.partition == partition]


class MemoryCheckpoints:
    """The table of all streams, up to date as of the last ``read_to_end``."""

    def __init__(self, kafka: MemoryKafka, topic: str) -> None:
        self.entries: dict[str, Entry] = {}
        self._kafka = kafka
        self._topic = topic

    async def read_to_end(self, shard: Shard) -> None:
        await asyncio.sleep(0)
        read: dict[str, Entry] = {}
        for record in self._kafka.committed(self._topic):
            if record.partition == shard and record.value is not None:
                key = record.key.decode()
                read[key] = prevailing(read.get(key), entry_of(record.partition, record.value))
        self.entries.update(read)


def entry_of(partition: int, value: bytes) -> Entry:
    try:
        return Entry(Shard(partition), decode_checkpoint(value))
    except CheckpointError as error:
        return Entry(Shard(partition), None, str(error))


class MemoryGroup:
    """The group. ``refusals`` are used up by proofs, the first first; ``on_proof`` is called at each."""

    def __init__(self) -> None:
        self.refusals: list[Exception | None] = []
        self.on_proof: Callable[[], object] = lambda: None
        self.proofs = 0

    async def prove(self, shard: Shard) -> None:
        await asyncio.sleep(0)
        self.proofs += 1
        if self.refusals and (refusal := self.refusals.pop(0)) is not None:
            raise refusal
        self.on_proof()


class MemoryMews:
    """Exports of the files that it is told of.

    ``adds`` and ``answers`` are used up by calls, the first first: errors are raised, a status is that of an export
    that is asked for; with nothing left an export is accepted, then ready. ``hold`` keeps an answer of ``add`` back.
    """

    def __init__(self, files: Sequence[bytes]) -> None:
        self.files = {f"part-{n}.jsonl": content for n, content in enumerate(files)}
        self.adds: list[Exception | None] = []
        self.answers: list[ExportStatus | Exception | Export | None] = []
        self.hold: asyncio.Event | None = None
        self.added: list[ExportId] = []
        self.asked: list[tuple[Window | None, Scope]] = []
        self._told: dict[ExportId, tuple[str, Window | None]] = {}
        self.now: Callable[[], datetime | None] = lambda: None
        """What its answers' dates say."""
        self.is_heard = False
        """Whether this process has had an answer."""
        self.add_calls = 0
        self.fetches = 0
        self.on_add: Callable[[], object] = lambda: None

    @property
    def server_now(self) -> datetime | None:
        return self.now() if self.is_heard else None

    async def add(
        self, entity_type: EntityType, *, window: Window | None, scope: Scope, within: float | None = None
    ) -> Accepted:
        if within is not None and within <= 0:
            raise RetriableError("the request would leave too late")
        self.add_calls += 1
        self.on_add()
        scripted = self.adds.pop(0) if self.adds else None
        self.asked.append((window, scope))
        self.is_heard = True
        if scripted is None:
            self.added.append(ExportId(f"e{len(self.added) + 1}"))
            self._told[self.added[-1]] = entity_type.value, window
        answer = scripted or Accepted(self._export(self.added[-1], ExportStatus.PENDING), self.now())
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def fetch(self, export_id: ExportId) -> Export | None:
        await asyncio.sleep(0)
        self.fetches += 1
        self.is_heard = True
        answer = self.answers.pop(0) if self.answers else ExportStatus.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        if answer is None or isinstance(answer, Export):
            return answer
        return self._export(export_id, answer, self.listed() if answer is ExportStatus.SUCCESS else ())

    def _export(self, export_id: ExportId, status: ExportStatus, files: tuple[ExportFile, ...] = ()) -> Export:
        entity_type, window = self._told.get(export_id, ("", None))
        return Export(export_id, status, files, raw_status="Dozing", entity_type=entity_type, window=window)

    def listed(self) -> tuple[ExportFile, ...]:
        """The files with fresh links."""
        return tuple(
            ExportFile(Link(f"https://blobs.test/{name}?sig={self.fetches}"), len(content))
            for name, content in self.files.items()
        )


class MemoryHost:
    """Serves the files of ``MemoryMews`` in small chunks.

    ``pauses`` holds back what follows a byte of a file, ``(name, offset)``, for so many seconds, once. ``breaks`` are
    errors that the next chunks meet instead, used up by them.
    """

    def __init__(self, mews: MemoryMews, *, chunk_size: int = 16) -> None:
        self.chunk_size = chunk_size
        self.pauses: dict[tuple[str, int], float] = {}
        self.breaks: list[Exception] = []
        self.served = 0
        self.opened: list[tuple[str, int]] = []
        self.etag: str | None = '"v1"'
        self._mews = mews

    @asynccontextmanager
    async def open(
        self, file: ExportFile, *, offset: int, tail: bytes = b"", etag: str | None = None
    ) -> AsyncGenerator[MemoryBody, None]:
        assert etag in (None, self.etag)
        self.opened.append((file.name, offset))
        yield MemoryBody(self, file.name, self._mews.files[file.name], offset)


class MemoryBody:
    """One download."""

    def __init__(self, host: MemoryHost, name: str, content: bytes, offset: int) -> None:
        self.etag = host.etag
        self.position = offset
        self._host = host
        self._name = name
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(self._host.pauses.pop((self._name, self.position), 0.0))
        if self._host.breaks:
            raise self._host.breaks.pop(0)
        chunk = self._content[self.position : self.position + self._host.chunk_size]
        if not chunk:
            raise StopAsyncIteration
        self.position += len(chunk)
        self._host.served += len(chunk)
        return chunk


def json_of(value: bytes | None) -> dict[str, Any]:
    return msgspec.json.decode(value or b"", type=dict[str, Any])
