"""A shard in hand: one producer's life, from the take-over to its first trouble.

Everything exactly-once rests on one rule: *what is written here follows only from checkpoints that were read to the
high watermark after this producer's start, and from what this producer committed since.* The order of ``take_over``
and the ``checkpoints`` of a session are that rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from streamer.core.checkpoint import Checkpoint, Counts, encode_checkpoint
from streamer.core.events import Event
from streamer.core.lifecycle import Outcome
from streamer.errors import ProducerLostError
from streamer.kafka.batches import RecordBatches
from streamer.kafka.checkpoints import Entry
from streamer.kafka.producer import Message, Offsets, ShardProducer
from streamer.metrics import Metrics
from streamer.model import Shard, StreamKey

NOTHING = Counts()
"""The counts of a transaction without a block."""

Decision = Callable[[Mapping[int, Offsets]], Outcome]
"""What to commit, once it is known between which offsets the block's records lie."""


class ShardTopics(msgspec.Struct, frozen=True):
    """The topics that go with each transaction beside the entities' own."""

    events: str
    checkpoints: str
    dead_letters: str


class Session:
    """One producer of one shard, its term, and the checkpoints that may be built upon."""

    def __init__(
        self,
        shard: Shard,
        producer: ShardProducer,
        *,
        entries: Mapping[str, Entry],
        owner: str,
        topics: ShardTopics,
        prove: Callable[[], Awaitable[None]],
        metrics: Metrics,
        monotonic: Callable[[], float],
    ) -> None:
        self.shard = shard
        self.lost = asyncio.Event()
        """Set at the first trouble: nothing can be written any more, and the shard must be taken over again."""
        self.failure: ProducerLostError | None = None
        self.commits = 0
        self.prove = prove
        self.topics = topics
        self._producer = producer
        self._monotonic = monotonic
        self._owner = owner
        self._metrics = metrics
        self._lock = asyncio.Lock()
        mine = {key: entry for key, entry in entries.items() if entry.shard == shard}
        self.term = 1 + max((e.checkpoint.term for e in mine.values() if e.checkpoint), default=0)
        self._entries = mine
        self._checkpoints = {key: entry.checkpoint for key, entry in mine.items()}

    def checkpoint(self, stream: StreamKey) -> Checkpoint | None:
        """The stream's newest checkpoint, a fresh one where there is none; None where it can't be read."""
        return self._checkpoints.get(str(stream), Checkpoint())

    def problem(self, stream: StreamKey) -> str:
        """Why a checkpoint can't be read."""
        entry = self._entries.get(str(stream))
        return entry.problem if entry else ""

    def new_batches(self) -> RecordBatches:
        """An encoder for a block; needs no transaction."""
        return self._producer.new_batches()

    async def commit(
        self,
        stream: StreamKey,
        decide: Decision,
        *,
        topic: str | None = None,
        batches: RecordBatches | None = None,
        messages: Sequence[Message] = (),
        counts: Counts = NOTHING,
    ) -> Checkpoint:
        """Publish a block with the checkpoint and the events that ``decide`` returns, in one transaction.

        ``counts`` are the block's, for the metrics.
        Returns the checkpoint as committed. Raises ``ProducerLostError`` when the outcome is unknown or the session
        is over: what holds then has to be read back by the next session.
        """
        committed: list[Checkpoint] = []

        def conclude(offsets: Mapping[int, Offsets]) -> list[Message]:
            outcome = decide(offsets)
            stamped = msgspec.structs.replace(outcome.checkpoint, term=self.term, owner=self._owner)
            committed.append(stamped)
            return [
                *(self._event_message(stream, event) for event in outcome.events),
                Message(self.topics.checkpoints, str(stream).encode(), encode_checkpoint(stamped)),
            ]

        async with self._lock:
            if self.lost.is_set():
                raise ProducerLostError("the shard is being taken over again") from self.failure
            started = self._monotonic()
            try:
                await self._producer.publish(conclude, topic=topic, batches=batches, messages=messages)
            except BaseException as error:
                # Also a cancellation: nobody waits for the outcome any more, so nobody knows it.
                self.failure = error if isinstance(error, ProducerLostError) else None
                self.lost.set()
                self._metrics.stream(stream).aborted()
                raise
            self.commits += 1
            self._metrics.stream(stream).committed(
                records=counts.records,
                lines=counts.lines,
                size=counts.size,
                seconds=self._monotonic() - started,
            )
            self._checkpoints[str(stream)] = committed[0]
        return committed[0]

    async def close(self) -> None:
        """End the producer; never raises for Kafka's sake."""
        self.lost.set()
        await self._producer.close()

    def _event_message(self, stream: StreamKey, event: Event) -> Message:
        return Message(
            self.topics.events,
            str(stream).encode(),
            event.value(),
            (
                ("ce_specversion", b"1.0"),
                ("ce_id", event.ce_id.encode()),
                ("ce_source", stream.source.encode()),
                ("ce_type", f"streamer.{event.name}".encode()),
                ("content-type", b"application/json"),
            ),
        )


class Group(Protocol):
    """The consumer group as far as a take-over needs it."""

    async def prove(self, shard: Shard) -> None: ...


class Checkpoints(Protocol):
    """The reader of the checkpoint topic as far as a take-over needs it."""

    @property
    def entries(self) -> Mapping[str, Entry]: ...

    async def read_to_end(self, shard: Shard) -> None: ...


async def take_over(
    shard: Shard,
    *,
    new_producer: Callable[[Shard], ShardProducer],
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
    4. and 5. Read the checkpoints up to the high watermark as it is now: nothing of anybody else can follow.

    Raises ``NotOwnerError`` or ``KafkaUnavailableError``; nothing is left open then.
    """
    await group.prove(shard)
    producer = new_producer(shard)
    try:
        await producer.start()
        await group.prove(shard)
        await checkpoints.read_to_end(shard)
    except BaseException:
        await producer.close()
        raise
    return Session(
        shard,
        producer,
        entries=checkpoints.entries,
        owner=owner,
        topics=topics,
        prove=lambda: group.prove(shard),
        metrics=metrics,
        monotonic=monotonic,
    )
