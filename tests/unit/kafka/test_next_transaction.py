"""The seam to how long aiokafka waits before it begins a transaction behind another one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ConcurrentTransactions
from aiokafka.producer.sender import AddPartitionsToTxnHandler

from streamer.kafka.next_transaction import ASK_AGAIN_SECONDS, begin_soon

TOPIC = "mews.bill"


@pytest.mark.parametrize("under_way", [False, True])
async def test_only_the_first_partitions_of_a_transaction_are_offered_again_so_soon(under_way: bool) -> None:
    begin_soon()
    producer = AIOKafkaProducer(transactional_id="mews.streamer.3")
    producer._txn_manager._txn_partitions = {TopicPartition(TOPIC, 1)} if under_way else set()
    handler = AddPartitionsToTxnHandler(producer._sender, [TopicPartition(TOPIC, 0)])
    answer = SimpleNamespace(errors=[(TOPIC, [(0, ConcurrentTransactions.errno)])])
    assert handler.handle_response(answer) == (handler._default_backoff if under_way else ASK_AGAIN_SECONDS)
    await producer.stop()
