"""Reading the checkpoint topic: the table of all streams, always up to date, and how far up to date it is.

One consumer without a group tails all shards for ever, ``read_committed``. Another one, ``read_uncommitted``, is
asked for nothing but high watermarks: the end that a ``read_committed`` consumer reports is the last *stable* offset,
behind which a committed checkpoint may lie while somebody's transaction is open (measured: 16 instead of 19).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from streamer.config import CHECKPOINT_SHARDS, Config
from streamer.core.checkpoint import Checkpoint, CheckpointError, decode_checkpoint
from streamer.kafka.connection import (
    CALL_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
    answered_within,
    client_options,
    describe,
    reader_options,
    stopped_within,
)
from streamer.model import Shard

log = structlog.get_logger()

_FETCH_WAIT_MS = 100
"""How long the broker holds an empty fetch. The default of 500 ms delays each take-over by as much (measured)."""


class Entry(msgspec.Struct, frozen=True):
    """What holds of a stream; ``checkpoint`` is None where this version can't read it, and ``problem`` why.

    ``is_buried`` where somebody whose term was over has written behind it: it has to be written anew, because
    compaction keeps the last record alone.
    """

    shard: Shard
    checkpoint: Checkpoint | None
    problem: str = ""
    is_buried: bool = False


def prevailing(known: Entry | None, found: Entry) -> Entry:
    """Which of two holds, where ``found`` lies behind ``known`` in the topic.

    A later term wins, and of one term the owner who wrote first in it: two that took over from the same checkpoint
    count the same term. Where producers are fenced neither ever happens; without transactions a process that was
    frozen can wake and write what it had in hand.
    """
    if known is None or known.checkpoint is None or found.checkpoint is None:
        return found
    if not found.checkpoint.is_overtaken_by(known.checkpoint):
        return found
    return msgspec.structs.replace(known, is_buried=True)


class CheckpointReader:
    """The newest committed checkpoint of every stream, by stream key; ``read_to_end`` makes sure of that."""

    def __init__(self, config: Config) -> None:
        self._partitions = [TopicPartition(config.topics.checkpoints, n) for n in range(CHECKPOINT_SHARDS)]
        self._topic = config.topics.checkpoints
        self._reader = AIOKafkaConsumer(**reader_options(config.kafka), fetch_max_wait_ms=_FETCH_WAIT_MS)
        self._watermarks = AIOKafkaConsumer(
            **client_options(config.kafka), enable_auto_commit=False, isolation_level="read_uncommitted"
        )
        self._entries: dict[str, Entry] = {}
        self._positions: dict[Shard, int] = {}
        self._moved = asyncio.Condition()

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Every stream that has a checkpoint, by its key; also those of other replicas."""
        return self._entries

    async def start(self) -> None:
        """Connect both consumers. Raises ``KafkaUnavailableError``."""
        async with answered_within(START_SECONDS, "starting the checkpoint reader"):
            await self._reader.start()
            await self._watermarks.start()
        self._reader.assign(self._partitions)
        self._watermarks.assign(self._partitions)
        # It never reads: a broker answers one request of a connection at a time, and an end asked for behind a fetch of
        # its own, of what nobody wants, would wait for half a second.
        self._watermarks.pause(*self._partitions)
        async with answered_within(CALL_SECONDS, "seeking the beginning of the checkpoints"):
            await self._reader.seek_to_beginning(*self._partitions)

    async def run(self) -> None:
        """Tail the topic. Never returns."""
        while True:
            try:
                fetched = await self._reader.getmany(timeout_ms=_FETCH_WAIT_MS)
                positions = {Shard(p.partition): await self._reader.position(p) for p in self._partitions}
            except KafkaError as error:
                log.warning("checkpoints_unreadable", reason=describe(error))
                await asyncio.sleep(1.0)
                continue
            for records in fetched.values():
                for record in records:
                    self._take(record)
            if positions != self._positions:
                async with self._moved:
                    # Positions step over markers and over what compaction removed; records' offsets don't tell.
                    self._positions = positions
                    self._moved.notify_all()

    async def read_to_end(self, shard: Shard) -> None:
        """Return once everything committed to the shard before this call is in the table.

        To be called after the shard's producer has started: what others had open there has ended then, as far as the
        coordinator knows. Raises ``KafkaUnavailableError``.
        """
        end = await self._end(self._watermarks, shard)
        async with answered_within(CALL_SECONDS, "reading the checkpoints to their end"), self._moved:
            await self._moved.wait_for(lambda: self._positions.get(shard, -1) >= end)

    async def are_held_back(self, shard: Shard) -> bool:
        """Whether a transaction is open in the shard. Raises ``KafkaUnavailableError``."""
        end = await self._end(self._watermarks, shard)
        return await self._end(self._reader, shard) < end

    async def _end(self, consumer: AIOKafkaConsumer, shard: Shard) -> int:
        """As the consumer may read: the high watermark, or up to where nothing is open."""
        partition = TopicPartition(self._topic, shard)
        async with answered_within(CALL_SECONDS, "reading the end of the checkpoints"):
            end: int = (await consumer.end_offsets([partition]))[partition]
        return end

    async def read_what_is_committed(self) -> None:
        """Return once all that consumers can see at this moment is in the table, for whoever only looks at it.

        Behind an open transaction more may be committed: whoever is to go on from it needs ``read_to_end``. Raises
        ``KafkaUnavailableError``.
        """
        async with answered_within(CALL_SECONDS, "reading the checkpoints"), self._moved:
            ends = await self._reader.end_offsets(self._partitions)
            await self._moved.wait_for(
                lambda: all(self._positions.get(Shard(p.partition), -1) >= end for p, end in ends.items())
            )

    async def stop(self) -> None:
        """Close both consumers, within 10 s each."""
        for consumer in (self._reader, self._watermarks):
            if problem := await stopped_within(STOP_SECONDS, consumer.stop()):
                log.warning("checkpoint_reader_left_behind", reason=problem)

    def _take(self, record: ConsumerRecord) -> None:
        key = bytes(record.key or b"").decode(errors="replace")
        if record.value is None:
            self._entries.pop(key, None)
            return
        shard = Shard(record.partition)
        try:
            found = Entry(shard=shard, checkpoint=decode_checkpoint(record.value))
        except CheckpointError as error:
            log.error("checkpoint_unreadable", stream=key, problem=str(error))
            found = Entry(shard=shard, checkpoint=None, problem=str(error))
        held = self._entries[key] = prevailing(self._entries.get(key), found)
        if held.is_buried and found.checkpoint is not None:
            log.warning("checkpoint_ignored", stream=key, term=found.checkpoint.term, owner=found.checkpoint.owner)
