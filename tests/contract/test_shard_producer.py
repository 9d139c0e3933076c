"""What a shard's producer promises, asked of it over Kafka in memory, which unit tests use, and over a real broker.

Both kinds keep to the first part; the second is for the one that has transactions.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal

import msgspec
import pytest

from streamer.core.partitioner import partition_of
from streamer.core.record_format import encode_headers
from streamer.errors import FencedError, ProducerLostError
from streamer.kafka.acknowledged import AcknowledgedProducer
from streamer.kafka.announcing import AnnouncingProducer
from streamer.kafka.batches import RecordBatches
from streamer.kafka.delivery import producer_for
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.producer import Message, Offsets, ShardProducer, TransactionalProducer
from streamer.kafka.topics import prepare_topics
from streamer.model import Shard
from tests.brokers import Kafka
from tests.contract.committed import committed
from tests.contract.kafka_settings import settings_for
from tests.memory_kafka import MemoryKafka, Record

LARGEST = 20_000
PARTITIONS = 3


class Stand:
    """Producers of one shard, if with transactions then all with the same id, and what consumers see of them."""

    def __init__(self, prefix: str, *, is_transactional: bool) -> None:
        self.is_transactional = is_transactional
        self.bills, self.events, self.checkpoints = f"{prefix}.bill", f"{prefix}.exports", f"{prefix}.checkpoints"
        self.producers: list[ShardProducer] = []

    def new_producer(self) -> ShardProducer:
        raise NotImplementedError

    def read(self, topic: str, *, in_transaction: bool = False) -> list[Record]:
        raise NotImplementedError

    def values(self, topic: str, *, in_transaction: bool = False) -> list[bytes | None]:
        return [record.value for record in self.read(topic, in_transaction=in_transaction)]

    async def start(self) -> ShardProducer:
        producer = self.new_producer()
        self.producers.append(producer)
        await producer.start()
        return producer


async def owned() -> None:
    """The shard is ours."""


class MemoryStand(Stand):
    def __init__(self, prefix: str, *, is_transactional: bool) -> None:
        super().__init__(prefix, is_transactional=is_transactional)
        self.kafka = MemoryKafka(
            {self.bills: PARTITIONS, self.events: PARTITIONS, self.checkpoints: 16}, max_message_bytes=LARGEST
        )

    def new_producer(self) -> ShardProducer:
        if not self.is_transactional:
            return AcknowledgedProducer(
                self.kafka.plain_producer,
                format=BatchFormat(batch_bytes=LARGEST, zstd=False, transactional=False),
                partitions=self.kafka.partitions,
                step_seconds=20.0,
                milliseconds=lambda: int(time.time() * 1000),
                monotonic=time.monotonic,
                confirm=owned,
            )
        return TransactionalProducer(
            lambda: self.kafka.producer("shard"),
            format=BatchFormat(batch_bytes=LARGEST, zstd=False, transactional=True),
            partitions=self.kafka.partitions,
            transaction_seconds=20.0,
            milliseconds=lambda: int(time.time() * 1000),
        )

    def read(self, topic: str, *, in_transaction: bool = False) -> list[Record]:
        return self.kafka.committed(topic)


class KafkaStand(Stand):
    def __init__(self, kafka: Kafka, prefix: str, *, is_transactional: bool) -> None:
        super().__init__(prefix, is_transactional=is_transactional)
        self.servers = kafka.bootstrap_servers
        config = settings_for(kafka, prefix, topics={"bill": {"max.message.bytes": str(LARGEST)}})
        delivery: Literal["exactly_once", "at_least_once"] = "exactly_once" if is_transactional else "at_least_once"
        self.config = msgspec.structs.replace(config, kafka=msgspec.structs.replace(config.kafka, delivery=delivery))

    async def prepare(self) -> None:
        self.topics = await prepare_topics(self.config)

    def new_producer(self) -> ShardProducer:
        return producer_for(
            self.config,
            self.topics,
            Shard(5),
            milliseconds=lambda: int(time.time() * 1000),
            monotonic=time.monotonic,
            confirm=owned,
        )

    def read(self, topic: str, *, in_transaction: bool = False) -> list[Record]:
        return committed(self.servers, topic, in_transaction=in_transaction)


EXACTLY, AT_LEAST = "exactly once", "at least once"


@pytest.fixture(params=["memory", "kafka"])
async def stand(request: pytest.FixtureRequest, prefix: str, delivery: str) -> AsyncIterator[Stand]:
    stand: Stand
    if request.param == "memory":
        stand = MemoryStand(prefix, is_transactional=delivery == EXACTLY)
    else:
        stand = KafkaStand(request.getfixturevalue("kafka"), prefix, is_transactional=delivery == EXACTLY)
        await stand.prepare()
    yield stand
    for producer in stand.producers:
        await producer.close()


class Concluding:
    """Keeps the offsets that it is given, and concludes with one checkpoint."""

    def __init__(self, stand: Stand, value: bytes = b"checkpoint", *, error: Exception | None = None) -> None:
        self.offsets: Mapping[int, Offsets] = {}
        self.visible: list[bytes | None] = []
        self._stand = stand
        self._value = value
        self._error = error

    def __call__(self, offsets: Mapping[int, Offsets]) -> Sequence[Message]:
        self.offsets = offsets
        if self._error is not None:
            raise self._error
        self.visible = self._stand.values(self._stand.bills, in_transaction=True)
        return [Message(self._stand.checkpoints, b"alpine/Bill", self._value)]


def filled(producer: ShardProducer, records: Sequence[tuple[int, bytes]]) -> RecordBatches:
    batches = producer.new_batches()
    for number, (partition, value) in enumerate(records):
        batches.append(partition, b"%d" % number, value, encode_headers([("ce_id", b"e1/0/%d" % number)]))
    return batches


async def publish(
    stand: Stand, producer: ShardProducer, records: Sequence[tuple[int, bytes]], conclude: Concluding | None = None
) -> Concluding:
    conclude = conclude or Concluding(stand)
    await producer.publish(conclude, topic=stand.bills, batches=filled(producer, records))
    return conclude


both = pytest.mark.parametrize("delivery", [EXACTLY, AT_LEAST])
with_transactions = pytest.mark.parametrize("delivery", [EXACTLY])
without_transactions = pytest.mark.parametrize("delivery", [AT_LEAST])


@both
async def test_a_block_is_visible_when_publish_has_returned(stand: Stand) -> None:
    producer = await stand.start()
    batches = filled(producer, [(0, b"a"), (2, b"b"), (0, b"c")])
    await producer.publish(Concluding(stand), topic=stand.bills, batches=batches)
    assert not any(batches.close().values()), "its memory is free"
    records = stand.read(stand.bills)
    assert [(r.partition, r.key, r.value) for r in records] == [(0, b"0", b"a"), (0, b"2", b"c"), (2, b"1", b"b")]
    assert [r.ce_id for r in records] == ["e1/0/0", "e1/0/2", "e1/0/1"]
    assert stand.values(stand.checkpoints) == [b"checkpoint"]


@both
async def test_the_offsets_that_conclude_is_given_are_those_that_consumers_see(stand: Stand) -> None:
    producer = await stand.start()
    seen: dict[bytes | None, tuple[int, Offsets]] = {}
    for block in range(3):
        # Of several batches to a partition: four of these are more than the topic takes in one.
        records = [(n % (block + 1), os.urandom(6000)) for n in range(10)]
        concluded = await publish(stand, producer, records)
        assert set(concluded.offsets) == {partition for partition, _ in records}
        for partition, offsets in concluded.offsets.items():
            values = [value for p, value in records if p == partition]
            seen |= dict.fromkeys(values, (partition, offsets))
            assert offsets.end - offsets.start == len(values)
    read = stand.read(stand.bills)
    assert len(read) == len(seen) == 30
    for record in read:
        partition, offsets = seen[record.value]
        assert record.partition == partition
        assert offsets.start <= record.offset < offsets.end


@both
async def test_messages_are_sent_in_order_to_the_partition_of_their_key(stand: Stand) -> None:
    producer = await stand.start()
    keys = [b"alpine/Bill", b"alpine/Payment", b"other/Bill"]
    messages = [Message(stand.events, keys[n % 3], b"%d" % n, (("ce_id", b"%d" % n),)) for n in range(12)]
    await producer.publish(Concluding(stand), messages=messages)
    for record in stand.read(stand.events):
        assert record.partition == partition_of(record.key, PARTITIONS)
    for n, key in enumerate(keys):
        values = [record.value for record in stand.read(stand.events) if record.key == key]
        assert values == [b"%d" % m for m in range(n, 12, 3)]


@both
async def test_behind_a_batch_that_fails_comes_no_checkpoint_and_the_producer_ends(stand: Stand) -> None:
    producer = await stand.start()
    await publish(stand, producer, [(0, b"before")])
    with pytest.raises(ProducerLostError) as caught:
        await publish(stand, producer, [(0, b"beside"), (1, os.urandom(2 * LARGEST)), (2, b"beside")])
    assert not isinstance(caught.value, FencedError)
    with pytest.raises(ProducerLostError):
        await publish(stand, producer, [(0, b"after")])
    await producer.close()
    fresh = await stand.start()
    await publish(stand, fresh, [(0, b"fresh")])
    visible = set(stand.values(stand.bills))
    assert visible == {b"before", b"fresh"} | (set() if stand.is_transactional else visible & {b"beside"})
    assert stand.values(stand.checkpoints) == [b"checkpoint"] * 2


@both
async def test_after_a_conclusion_that_fails_there_is_no_checkpoint_and_the_producer_ends(stand: Stand) -> None:
    producer = await stand.start()
    with pytest.raises(ZeroDivisionError):
        await publish(stand, producer, [(0, b"open")], Concluding(stand, error=ZeroDivisionError()))
    with pytest.raises(ProducerLostError):
        await publish(stand, producer, [(0, b"after")])
    assert stand.values(stand.checkpoints) == []


@without_transactions
async def test_the_records_are_visible_before_their_checkpoint_is_made(stand: Stand) -> None:
    producer = await stand.start()
    concluded = await publish(stand, producer, [(0, b"a"), (2, b"b")])
    assert concluded.visible == [b"a", b"b"]


@without_transactions
async def test_the_start_of_another_fences_nobody(stand: Stand) -> None:
    first = await stand.start()
    second = await stand.start()
    await publish(stand, second, [(0, b"second")])
    await publish(stand, first, [(0, b"first")])
    assert stand.values(stand.bills) == [b"second", b"first"]


@with_transactions
async def test_a_block_is_not_visible_before_it_is_committed(stand: Stand) -> None:
    producer = await stand.start()
    concluded = await publish(stand, producer, [(0, b"a"), (2, b"b")])
    assert concluded.visible == []


@with_transactions
async def test_a_conclusion_that_fails_commits_nothing_and_the_next_start_settles_what_is_open(stand: Stand) -> None:
    producer = await stand.start()
    with pytest.raises(ZeroDivisionError):
        await publish(stand, producer, [(0, b"open")], Concluding(stand, error=ZeroDivisionError()))
    with pytest.raises(ProducerLostError):
        await publish(stand, producer, [(0, b"after")])
    fresh = await stand.start()
    await publish(stand, fresh, [(0, b"fresh")])
    assert stand.values(stand.bills) == [b"fresh"]


@with_transactions
async def test_the_start_of_another_fences_and_nothing_of_the_fenced_one_is_visible(stand: Stand) -> None:
    first = await stand.start()
    await publish(stand, first, [(0, b"first")])
    second = await stand.start()
    with pytest.raises(FencedError):
        await publish(stand, first, [(0, b"fenced"), (1, b"fenced")])
    await publish(stand, second, [(0, b"second")])
    await first.close()
    await publish(stand, second, [(1, b"still there")])
    assert stand.values(stand.bills) == [b"first", b"second", b"still there"]


class NoticesBeforeItSends(AnnouncingProducer):
    """Sends nothing before it has met whoever fenced it: the checkpoint's partition is announced as it begins."""

    async def begin_transaction(self) -> None:
        await super().begin_transaction()
        await asyncio.wait({self._sender.sender_task})


@with_transactions
async def test_one_that_notices_before_its_first_batch_is_fenced_too(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.kafka.producer.AnnouncingProducer", NoticesBeforeItSends)
    first = await stand.start()
    await stand.start()
    with pytest.raises(FencedError):
        await publish(stand, first, [(0, b"fenced")])
    assert stand.values(stand.bills) == []


@both
async def test_after_close_nothing_can_be_published(stand: Stand) -> None:
    producer = await stand.start()
    await producer.close()
    with pytest.raises(ProducerLostError):
        await publish(stand, producer, [(0, b"late")])
    await producer.close()
    assert stand.values(stand.bills) == []


@both
async def test_a_publish_that_is_cancelled_ends_the_producer(stand: Stand) -> None:
    producer = await stand.start()
    publishing = asyncio.create_task(publish(stand, producer, [(0, b"cancelled")]))
    await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    assert publishing.cancelled()
    with pytest.raises(ProducerLostError):
        await publish(stand, producer, [(0, b"after")])
    fresh = await stand.start()
    await publish(stand, fresh, [(0, b"fresh")])
    assert stand.values(stand.bills)[-1:] == [b"fresh"]
    assert b"after" not in stand.values(stand.bills)


@both
async def test_batches_may_be_filled_while_a_transaction_is_under_way(stand: Stand) -> None:
    producer = await stand.start()
    first, second = filled(producer, [(0, b"a")]), filled(producer, [(0, b"b"), (1, b"c")])
    publishing = asyncio.create_task(producer.publish(Concluding(stand), topic=stand.bills, batches=first))
    second.append(0, b"k", b"d", encode_headers([("ce_id", b"x")]))
    await publishing
    await producer.publish(Concluding(stand), topic=stand.bills, batches=second)
    assert stand.values(stand.bills) == [b"a", b"b", b"d", b"c"]
