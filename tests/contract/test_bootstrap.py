"""A client that is given up while it starts, as in a take-over that somebody else forestalls, leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

from streamer.kafka.connection import client_options
from tests.brokers import Kafka
from tests.contract.kafka_settings import settings_for


async def test_a_start_that_is_cancelled_closes_its_connection(
    kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    connected: asyncio.Future[AIOKafkaConnection] = asyncio.get_running_loop().create_future()
    send = AIOKafkaConnection.send

    def send_but_no_questions(connection: AIOKafkaConnection, request: Any, **options: Any) -> Any:
        if not isinstance(request, MetadataRequest):
            return send(connection, request, **options)
        connected.set_result(connection)
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(AIOKafkaConnection, "send", send_but_no_questions)
    producer = AIOKafkaProducer(**client_options(settings_for(kafka, prefix).kafka))
    starting = asyncio.create_task(producer.start())
    async with asyncio.timeout(30):
        connection = await connected
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not connection.connected()
    await producer.stop()
    del connection
    connected = asyncio.get_running_loop().create_future()
    gc.collect()
    assert complaints == []
