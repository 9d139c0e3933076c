"""The seam to how long aiokafka waits before it begins a transaction behind another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ConcurrentTransactions
from aiokafka.producer import sender

from streamer.kafka.next_transaction import (
    ASK_AGAIN_SECONDS,
    MOST_SECONDS,
    begin_soon,
    pause_after,
)

TOPIC = "mews.bill"
DEFAULT_SECONDS = 0.1
ACCEPTED = 0

Offer = Callable[[int], float | None]
"""Offers a partition, given the answer's error code; returns for how long aiokafka would wait now."""


@pytest.fixture
async def producer() -> AsyncIterator[AIOKafkaProducer]:
    begin_soon()
    producer = AIOKafkaProducer(transactional_id="mews.streamer.3")
    yield producer
    await producer.stop()


@pytest.fixture
def offer(producer: AIOKafkaProducer) -> Offer:
    def offer(error: int) -> float | None:
        # As the sender does it: a handler for every try.
        handler = sender.AddPartitionsToTxnHandler(producer._sender, [TopicPartition(TOPIC, 0)])
        pause: float | None = handler.handle_response(SimpleNamespace(errors=[(TOPIC, [(0, error)])]))
        return pause

    return offer


def test_the_first_partitions_of_a_transaction_are_offered_again_soon_and_ever_less_often(offer: Offer) -> None:
    pauses = [offer(ConcurrentTransactions.errno) for _ in range(4)]
    assert pauses == [ASK_AGAIN_SECONDS, *map(pause_after, (1, 2, 3))]


def test_partitions_of_a_transaction_under_way_wait_as_long_as_aiokafka_has_it(
    producer: AIOKafkaProducer, offer: Offer
) -> None:
    producer._txn_manager._txn_partitions = {TopicPartition(TOPIC, 1)}
    assert offer(ConcurrentTransactions.errno) == DEFAULT_SECONDS


def test_once_accepted_the_next_transaction_is_as_soon_again(producer: AIOKafkaProducer, offer: Offer) -> None:
    partition = TopicPartition(TOPIC, 0)
    producer._txn_manager._pending_txn_partitions = {partition}
    for _ in range(5):
        offer(ConcurrentTransactions.errno)
    assert offer(ACCEPTED) is None
    assert producer._txn_manager.txn_partitions == {partition}
    producer._txn_manager._txn_partitions = set()
    assert offer(ConcurrentTransactions.errno) == ASK_AGAIN_SECONDS


def test_waits_for_at_most_half_of_the_time_that_it_has_waited_already() -> None:
    waited = 0.0
    for refusals in range(8):
        pause = pause_after(refusals)
        assert pause <= ASK_AGAIN_SECONDS + waited / 2 + 1e-9
        waited += pause


def test_the_pause_grows_up_to_a_bound() -> None:
    pauses = [pause_after(refusals) for refusals in range(5_000)]
    assert all(earlier <= later for earlier, later in pairwise(pauses))
    assert pauses[-1] == MOST_SECONDS
