"""The seam to which partitions aiokafka announces to the coordinator of a transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, ProducerFenced

from streamer.kafka.announcing import MOST_UNREAD, AnnouncingProducer

CHECKPOINT = TopicPartition("mews.checkpoints", 3)
BILLS = [TopicPartition("mews.bill", partition) for partition in range(3)]


@pytest.fixture
async def producer() -> AsyncIterator[AnnouncingProducer]:
    """One that has an id, as if a broker had given it."""
    producer = AnnouncingProducer(CHECKPOINT, BILLS, transactional_id="mews.streamer.3")
    producer._txn_manager.set_pid_and_epoch(7, 0)
    producer.client._wait_on_metadata = _known
    producer._partition = lambda _topic, partition, *_: partition
    yield producer
    await producer.stop()


def announced(producer: AnnouncingProducer) -> set[TopicPartition]:
    """What is to be announced now, which the coordinator then takes."""
    partitions = set(producer._txn_manager.partitions_to_add())
    for partition in partitions:
        producer._txn_manager.partition_added(partition)
    return partitions


async def send(producer: AnnouncingProducer, partition: TopicPartition) -> None:
    builder = producer.create_batch()
    builder.append(timestamp=1, key=b"a stream", value=b"{}")
    builder.close()
    await producer.send_batch(builder, partition.topic, partition=partition.partition)


async def commit(producer: AnnouncingProducer) -> None:
    """The coordinator acknowledges at once, and what was sent is there."""
    producer._message_accumulator._batches.clear()
    producer._txn_manager.wait_for_transaction_end().set_result(None)
    await producer.commit_transaction()
    producer._txn_manager.complete_transaction()


async def transaction(producer: AnnouncingProducer, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
    """What one that writes to these partitions announces as it begins."""
    await producer.begin_transaction()
    at_first = announced(producer)
    for partition in partitions:
        await send(producer, partition)
    announced(producer)
    await commit(producer)
    return at_first


async def test_where_a_transaction_ends_is_announced_as_it_begins_and_then_only_once(
    producer: AnnouncingProducer,
) -> None:
    await producer.begin_transaction()
    assert announced(producer) == {CHECKPOINT}
    await send(producer, CHECKPOINT)
    assert announced(producer) == set()


async def test_the_partitions_of_what_nobody_has_read_yet_are_announced_too(producer: AnnouncingProducer) -> None:
    assert await transaction(producer, BILLS[:1]) == {CHECKPOINT}
    assert await transaction(producer, BILLS[1:2]) == {CHECKPOINT, *BILLS[:1]}
    assert await transaction(producer, []) == {CHECKPOINT, *BILLS[:2]}


async def test_what_was_read_has_its_markers(producer: AnnouncingProducer) -> None:
    for partition in BILLS:
        await transaction(producer, [partition])
    producer.all_were_read_but(1)
    # The third announced the others' partitions too, but has nothing in them.
    assert await transaction(producer, []) == {CHECKPOINT, BILLS[2]}
    producer.all_were_read_but(0)
    assert await transaction(producer, []) == {CHECKPOINT}


async def test_however_far_behind_its_reader_is_nothing_is_forgotten(producer: AnnouncingProducer) -> None:
    await transaction(producer, BILLS[:1])
    for _ in range(3 * MOST_UNREAD):
        await transaction(producer, [])
    assert await transaction(producer, BILLS[1:]) == {CHECKPOINT, BILLS[0]}
    producer.all_were_read_but(MOST_UNREAD + 1)
    assert await transaction(producer, []) == {CHECKPOINT, *BILLS}
    producer.all_were_read_but(2)
    assert await transaction(producer, []) == {CHECKPOINT, *BILLS[1:]}


async def test_what_ended_the_transaction_is_told_rather_than_that_there_is_none(producer: AnnouncingProducer) -> None:
    await producer.begin_transaction()
    producer._txn_manager.fatal_error(ProducerFenced())
    with pytest.raises(ProducerFenced):
        await producer.send_batch(producer.create_batch(), "mews.bill", partition=0)


async def test_that_there_is_no_transaction_is_told_where_nothing_ended_it(producer: AnnouncingProducer) -> None:
    with pytest.raises(IllegalOperation):
        await producer.send_batch(producer.create_batch(), "mews.bill", partition=0)


async def _known(_: str) -> None: ...
