"""Taking a shard over: what has to come before what, so that nobody else can write to it behind what was read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from streamer.kafka.checkpoints import Entry
from streamer.kafka.sending import Confirm, ShardProducer
from streamer.metrics import Metrics
from streamer.model import Shard
from streamer.service.session import Session, ShardTopics, close_producer

log = structlog.get_logger()

_SETTLED_SECONDS = 5.0
"""Reading the checkpoints to their end takes some hundredths of that, unless something holds it back."""


class Group(Protocol):
    """The consumer group as far as a take-over needs it."""

    async def prove(self, shard: Shard) -> None: ...


class Checkpoints(Protocol):
    """The reader of the checkpoint topic as far as a take-over needs it."""

    @property
    def entries(self) -> Mapping[str, Entry]: ...

    async def read_to_end(self, shard: Shard) -> None: ...

    async def are_held_back(self, shard: Shard) -> bool: ...


async def take_over(
    shard: Shard,
    *,
    new_producer: Callable[[Shard, Confirm], ShardProducer],
    group: Group,
    checkpoints: Checkpoints,
    owner: str,
    topics: ShardTopics,
    metrics: Metrics,
    monotonic: Callable[[], float],
) -> Session:
    """Take a shard over. The order is the point.

    1. Proof, so that a member that was thrown out never fences the rightful owner.
    2. Start the producer: fences the last owner and settles its open transaction.
    3. Proof again, since the start may have taken a minute.
    4. and 5. Read the checkpoints up to the high watermark as it is now: nothing of anybody else can follow. Where they
       can't be read that far, something is open although its commit was acknowledged; that is settled first.

    Without transactions step 2 fences nobody, and what the last owner had under way may still follow step 5. Its
    checkpoint is of an earlier term, so this session's next one prevails over it, and the records of which it speaks
    are published once more under the same ids. Nothing is lost by it.

    Raises ``NotOwnerError`` or ``KafkaUnavailableError``; nothing is left open then.
    """
    session: Session | None = None

    async def confirm() -> None:
        await group.prove(shard)
        await checkpoints.read_to_end(shard)
        if session is not None:
            session.check_term()

    await group.prove(shard)
    producer = new_producer(shard, confirm)
    try:
        await producer.start()
        await group.prove(shard)
        try:
            async with asyncio.timeout(_SETTLED_SECONDS):
                await checkpoints.read_to_end(shard)
        except TimeoutError:
            if await checkpoints.are_held_back(shard):
                log.warning("checkpoints_held_back", shard=shard)
                await producer.settle()
            await checkpoints.read_to_end(shard)
    except BaseException:
        await close_producer(producer)
        raise
    session = Session(
        shard,
        producer,
        entries=checkpoints.entries,
        owner=owner,
        topics=topics,
        prove=lambda: group.prove(shard),
        metrics=metrics,
        monotonic=monotonic,
    )
    return session
