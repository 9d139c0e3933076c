"""Whether the brokers take from this user what the daemon needs: tried with what leaves nothing behind.

A broker tells nobody which rights a user has in the protocol's versions that aiokafka speaks. So each is used once:
records that are never committed, a fetch of nothing, an offset of a group that nobody reads, a topic that is only
said to be made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import OffsetAndMetadata

from streamer.config import Config
from streamer.errors import KafkaUnavailableError, RightsMissingError
from streamer.kafka.connection import CALL_SECONDS, START_SECONDS, STOP_SECONDS, answered_within, client_options
from streamer.kafka.topics import TopicAdmin
from streamer.topic_specs import TopicSpec

_KEY = b"streamer.check"
_TRANSACTION_MS = 10_000
"""Should this process die in the middle of a trial, readers of committed records wait no longer than that."""
_FETCH_MS = 500
_REFUSALS = (GroupAuthorizationFailedError, TopicAuthorizationFailedError, TransactionalIdAuthorizationFailed)


async def prove_idempotence(config: Config) -> None:
    """Have a producer without transactions be given its id, without which nothing keeps its retries from doubling.

    Raises ``KafkaUnavailableError`` where it gets none.
    """
    producer = AIOKafkaProducer(**client_options(config.kafka), enable_idempotence=True)
    async with _started(producer, "asking for the id of a producer"):
        pass


async def missing_rights(config: Config, specs: Sequence[TopicSpec], existing: Iterable[str]) -> list[str]:
    """What this user lacks of all that the daemon needs, as ``Write topic mews.bill``; nothing where it has all.

    Raises ``KafkaUnavailableError`` where the brokers give no answer at all.
    """
    there = [spec.name for spec in specs if spec.name in set(existing)]
    missing = [spec for spec in specs if spec.name not in there]
    found: list[str] = []
    if missing and config.topics.create:
        found += await _lacking(lambda: _try_to_create(config, missing))
    found += await _lacking(lambda: _try_to_read(config, there))
    if config.topics.checkpoints in there:
        found += await _lacking(lambda: _try_to_commit_an_offset(config))
    if config.kafka.delivery == "exactly_once":
        found += await _lacking(lambda: _try_to_write(config, there))
    return list(dict.fromkeys(found))


async def _lacking(attempt: Callable[[], Awaitable[None]]) -> list[str]:
    try:
        await attempt()
    except RightsMissingError as error:
        return list(error.rights)
    return []


async def _try_to_create(config: Config, specs: Sequence[TopicSpec]) -> None:
    admin = await TopicAdmin.connect(config)
    try:
        await admin.create(specs, replication_factor=config.topics.replication_factor, only_try=True)
    finally:
        await admin.close()


async def _try_to_read(config: Config, topics: Sequence[str]) -> None:
    """Fetch from the end of one partition of each topic, where there is nothing."""
    lacking = []
    for topic in topics:
        consumer = AIOKafkaConsumer(**client_options(config.kafka), enable_auto_commit=False, fetch_max_wait_ms=100)
        async with _started(consumer, "trying to read"):
            partition = TopicPartition(topic, 0)
            consumer.assign([partition])
            try:
                await consumer.seek_to_end(partition)
                await consumer.getmany(partition, timeout_ms=_FETCH_MS)
            except TopicAuthorizationFailedError:
                lacking.append(f"Read topic {topic}")
    if lacking:
        raise RightsMissingError(lacking)


async def _try_to_commit_an_offset(config: Config) -> None:
    """Commit the offset that the daemon itself commits as its proof; where members are at work, they are in the way."""
    partition = TopicPartition(config.topics.checkpoints, 0)
    consumer = AIOKafkaConsumer(**client_options(config.kafka), group_id=config.topics.group, enable_auto_commit=False)
    async with _started(consumer, "trying the consumer group"):
        consumer.assign([partition])
        try:
            await consumer.commit({partition: OffsetAndMetadata(0, "")})
        except (CommitFailedError, IllegalStateError):
            return
        except GroupAuthorizationFailedError:
            raise RightsMissingError([f"Read group {config.topics.group}"]) from None
        except TopicAuthorizationFailedError:
            raise RightsMissingError([f"Read topic {config.topics.checkpoints}"]) from None


async def _try_to_write(config: Config, topics: Sequence[str]) -> None:
    """Send a record to each topic in a transaction that is aborted, under an id of its own, which fences nobody."""
    lacking = []
    # Without topics yet, the id alone.
    for topic in topics or ("",):
        transactional_id = f"{config.topics.prefix}.streamer.check"
        producer = AIOKafkaProducer(
            **client_options(config.kafka), transactional_id=transactional_id, transaction_timeout_ms=_TRANSACTION_MS
        )
        try:
            async with _started(producer, "trying a transaction"):
                await producer.begin_transaction()
                if topic:
                    await producer.send_and_wait(topic, key=_KEY, value=None, partition=0)
                await producer.abort_transaction()
        except TopicAuthorizationFailedError:
            lacking.append(f"Write topic {topic}")
        except TransactionalIdAuthorizationFailed:
            raise RightsMissingError([f"Write transactional id {transactional_id}"]) from None
    if lacking:
        raise RightsMissingError(lacking)


@contextlib.asynccontextmanager
async def _started(client: AIOKafkaConsumer | AIOKafkaProducer, what: str) -> AsyncIterator[None]:
    """A client that works within, and is stopped whatever comes of it. Lets the errors of missing rights through."""
    try:
        async with answered_within(START_SECONDS, what):
            await client.start()
        async with answered_within(CALL_SECONDS, what):
            yield
    except KafkaUnavailableError as error:
        if isinstance(error.__cause__, _REFUSALS):
            raise error.__cause__ from None
        raise
    finally:
        # The check has its answer; a client that can't even stop adds nothing to it.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await client.stop()
