"""What is read back of Kafka in memory, and the group: as far as a take-over and a reconciliation see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

from streamer.core.checkpoint import CheckpointError, decode_checkpoint
from streamer.kafka.checkpoints import Entry, prevailing
from streamer.kafka.decoding import Slice, Source, slice_of
from streamer.kafka.reading_back import Ends
from streamer.model import Shard
from tests.memory_kafka import MemoryKafka, Record


class MemoryTopicReader:
    """Reads a topic back, ``slice_records`` at a time; ``on_slice`` is called at each."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self.slice_records = 3
        self.reads: list[str] = []
        self.on_slice: Callable[[], object] = lambda: None
        self.troubles: list[Exception] = []
        self.closing: asyncio.Event | None = None
        """Where there is one, closing takes until it is set, as it does while a broker is away."""
        self._kafka = kafka

    async def __aenter__(self) -> MemoryTopicReader:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.closing is not None:
            await self.closing.wait()

    async def ends(self, topic: str, partitions: int, *, since: int | None = None) -> Mapping[int, Ends]:
        await asyncio.sleep(0)
        self.reads.append(topic)
        if self.troubles:
            raise self.troubles.pop(0)
        found = {}
        for partition in range(partitions):
            records = self._records(topic, partition)
            recent = [record.offset for record in records if record.timestamp >= (since or 0)]
            end = records[-1].offset + 1 if records else 0
            found[partition] = Ends(recent[0] if recent else end, end)
        return found

    async def slices(self, topic: str, partition: int, ends: Ends, source: Source) -> AsyncGenerator[Slice, None]:
        within = [r for r in self._records(topic, partition) if ends.start <= r.offset < ends.end]
        for start in range(0, len(within), self.slice_records):
            await asyncio.sleep(0)
            self.on_slice()
            yield slice_of(within[start : start + self.slice_records], source)

    def _records(self, topic: str, partition: int) -> list[Record]:
        return [record for record in self._kafka.committed(topic) if record.partition == partition]


class MemoryCheckpoints:
    """The table of all streams, up to date as of the last ``read_to_end``."""

    def __init__(self, kafka: MemoryKafka, topic: str) -> None:
        self.entries: dict[str, Entry] = {}
        self._kafka = kafka
        self._topic = topic

    async def read_to_end(self, shard: Shard) -> None:
        await asyncio.sleep(0)
        read: dict[str, Entry] = {}
        for record in self._kafka.committed(self._topic):
            if record.partition == shard and record.value is not None:
                key = record.key.decode()
                read[key] = prevailing(read.get(key), entry_of(record.partition, record.value))
        self.entries.update(read)

    async def are_held_back(self, shard: Shard) -> bool:
        """A commit leaves nothing open here."""
        return False


def entry_of(partition: int, value: bytes) -> Entry:
    try:
        return Entry(Shard(partition), decode_checkpoint(value))
    except CheckpointError as error:
        return Entry(Shard(partition), None, str(error))


class MemoryGroup:
    """The group. ``refusals`` are used up by proofs, the first first; ``on_proof`` is called at each."""

    def __init__(self) -> None:
        self.refusals: list[Exception | None] = []
        self.on_proof: Callable[[], object] = lambda: None
        self.proofs = 0

    async def prove(self, shard: Shard) -> None:
        await asyncio.sleep(0)
        self.proofs += 1
        if self.refusals and (refusal := self.refusals.pop(0)) is not None:
            raise refusal
        self.on_proof()
