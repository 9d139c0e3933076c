"""A shard in hand: one producer's life, from the take-over to its first trouble.

Everything exactly-once rests on one rule: *what is written here follows only from checkpoints that were read to the
high watermark after this producer's start, and from what this producer committed since.* The order of the steps in
``taking_over.py`` and the ``checkpoints`` of a session are that rule.

Where producers are not fenced (``kafka.delivery = "at_least_once"``) somebody else may write after that reading. So a
session also ends when the checkpoints tell of a later one, and writes anew what an earlier one has written over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from streamer import tracing
from streamer.core.checkpoint import Checkpoint, encode_checkpoint
from streamer.core.events import Event, Outcome
from streamer.core.states import Counts
from streamer.errors import FencedError, ProducerLostError
from streamer.kafka.announcing import MOST_UNREAD
from streamer.kafka.batches import RecordBatches
from streamer.kafka.checkpoints import Entry
from streamer.kafka.sending import Message, Offsets, ShardProducer
from streamer.metrics import Metrics
from streamer.model import Shard, StreamKey

NOTHING = Counts()
"""The counts of a transaction without a block."""

Decision = Callable[[Mapping[int, Offsets]], Outcome]
"""What to commit, once it is known between which offsets the block's records lie."""

_LOOK_SECONDS = 60.0
"""How often a session looks for checkpoints of its own that are buried: sooner by far than compaction, which leaves the
newest segment alone, an hour's worth."""


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
        self._me = Checkpoint(term=self.term, owner=owner)
        self._live_entries = entries
        self._entries = mine
        self._checkpoints = {key: entry.checkpoint for key, entry in mine.items()}
        self._newest: deque[tuple[str, Checkpoint]] = deque(maxlen=MOST_UNREAD)
        """What was committed last, by this session."""

    def checkpoint(self, stream: StreamKey) -> Checkpoint | None:
        """The stream's newest checkpoint, a fresh one where there is none; None where it can't be read."""
        return self._checkpoints.get(str(stream), Checkpoint())

    @property
    def checkpoints(self) -> Mapping[str, Checkpoint | None]:
        """Those of the shard's streams that have one, by key; also of streams that no settings have."""
        return self._checkpoints

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
            self._tell_what_was_read()
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
            seconds = self._monotonic() - started
            self._metrics.stream(stream).committed(
                records=counts.records,
                lines=counts.lines,
                size=counts.size,
                unchanged=counts.unchanged,
                tombstones=counts.tombstones,
                seconds=seconds,
            )
            before = self._checkpoints.get(str(stream))
            tracing.committed(stream, before, committed[0], counts, topic=topic, seconds=seconds)
            self._checkpoints[str(stream)] = committed[0]
            self._newest.append((str(stream), committed[0]))
        return committed[0]

    def _tell_what_was_read(self) -> None:
        """This replica's own reader reads what is written here too, and only behind its marker."""
        for behind, (key, checkpoint) in enumerate(reversed(self._newest)):
            entry = self._live_entries.get(key)
            if entry is not None and entry.checkpoint == checkpoint:
                self._producer.all_were_read_but(behind)
                return

    async def keep(self) -> None:
        """Until the session is lost; meanwhile write anew what somebody whose term is over has written over."""
        while not self.lost.is_set():
            # All that can come of writing is that the session is lost, which ends the loop too.
            with contextlib.suppress(ProducerLostError):
                for stream in self._buried():
                    await self._write_anew(stream)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self.lost.wait()

    def _buried(self) -> list[StreamKey]:
        buried = []
        for key, entry in self._live_entries.items():
            # Of entity types that only a newer version knows, that version has to take care.
            with contextlib.suppress(ValueError):
                if entry.is_buried and self._checkpoints.get(key) is not None:
                    buried.append(StreamKey.parse(key))
        return buried

    async def _write_anew(self, stream: StreamKey) -> None:
        # Looked up when it is this commit's turn: the stream itself may be committing.
        await self.commit(stream, lambda _: Outcome(self.checkpoint(stream) or Checkpoint()))

    def check_term(self) -> None:
        """Raise ``FencedError`` where the checkpoints tell that somebody else has taken the shard over."""
        for entry in self._live_entries.values():
            if entry.shard == self.shard and entry.checkpoint and self._me.is_overtaken_by(entry.checkpoint):
                raise FencedError(f"shard {self.shard} was taken over in term {entry.checkpoint.term}")

    async def close(self) -> None:
        """End the producer; never raises for Kafka's sake."""
        self.lost.set()
        await close_producer(self._producer)

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


_closing: set[asyncio.Task[None]] = set()


async def close_producer(producer: ShardProducer) -> None:
    """Close it, also where the caller is cancelled meanwhile: the closing then goes on in the background.

    A cancellation must not reach aiokafka here. In ``abort`` it would leave the producer running for ever, and ``stop``
    swallows it, so that whoever was to end would go on.
    """
    closing = asyncio.create_task(producer.close(), name="closing a producer")
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)
    await asyncio.shield(closing)
