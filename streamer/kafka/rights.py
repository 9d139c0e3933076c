"""Whether the brokers take transactions from this user: tried with one that is aborted."""

from __future__ import annotations

import contextlib

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamer.config import Config
from streamer.kafka.connection import START_SECONDS, answered_within, client_options


async def prove_transactions(config: Config) -> None:
    """Begin and abort an empty transaction under an id of its own, which fences nobody.

    Raises ``KafkaUnavailableError`` where that can't be done.
    """
    producer = AIOKafkaProducer(
        **client_options(config.kafka), transactional_id=f"{config.topics.prefix}.streamer.check"
    )
    try:
        async with answered_within(START_SECONDS, "trying a transaction"):
            await producer.start()
            await producer.begin_transaction()
            await producer.abort_transaction()
    finally:
        # The check has its answer; a producer that can't even stop adds nothing to it.
        with contextlib.suppress(KafkaError):
            await producer.stop()
