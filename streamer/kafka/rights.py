"""Whether the brokers take from this user what ``kafka.delivery`` needs: tried with what leaves nothing behind."""

from __future__ import annotations

import contextlib

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamer.config import Config
from streamer.kafka.connection import START_SECONDS, answered_within, client_options


async def prove_idempotence(config: Config) -> None:
    """Have a producer without transactions be given its id, without which nothing keeps its retries from doubling.

    Raises ``KafkaUnavailableError`` where it gets none.
    """
    producer = AIOKafkaProducer(**client_options(config.kafka), enable_idempotence=True)
    try:
        async with answered_within(START_SECONDS, "asking for the id of a producer"):
            await producer.start()
    finally:
        with contextlib.suppress(KafkaError):
            await producer.stop()


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
