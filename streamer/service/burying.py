"""Tombstones for what a snapshot doesn't hold: gathered in blocks and committed, each with its checkpoint.

Killed in between, it begins anew: the topic is read back with the tombstones that are there already, and all files are
read again to see what the snapshot holds. What is left then is exactly what is still due.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial

import msgspec
import structlog

from streamer.core.blocks import Tally, digest_of
from streamer.core.checkpoint import Checkpoint
from streamer.core.comparing import Comparison
from streamer.core.events import Outcome
from streamer.core.files import start_of
from streamer.core.inputs import Entombed
from streamer.core.lifecycle import transition
from streamer.core.record_format import encode_headers
from streamer.core.records import size_of, tombstone_headers
from streamer.core.states import Counts, PartitionCounts, Reconciling, Share
from streamer.errors import ExportLostError
from streamer.kafka.batches import RecordBatches
from streamer.kafka.producer import Offsets
from streamer.model import StreamKey
from streamer.service.ahead import Ends
from streamer.service.clock import Clock
from streamer.service.fetching import fetch_again
from streamer.service.gathering import Begun, Gatherer
from streamer.service.reading import Links
from streamer.service.reconciling import Reconciler, must_be_known
from streamer.service.session import Session

log = structlog.get_logger()

Follow = Callable[[Checkpoint], Awaitable[Checkpoint]]
"""Is told of each checkpoint committed, and may commit others upon it; returns the one that holds then."""


class Tombstones(msgspec.Struct, frozen=True):
    """A block of tombstones, ready to be published."""

    batches: RecordBatches
    tallies: dict[int, Tally]


class Burial:
    """Writes the tombstones of one stream. A block holds ``block_bytes`` of keys and headers."""

    def __init__(
        self,
        key: StreamKey,
        *,
        links: Links,
        gatherer: Gatherer,
        reconciler: Reconciler,
        topic: str,
        headers: bool,
        block_bytes: int,
        clock: Clock,
    ) -> None:
        self._key = key
        self._links = links
        self._gatherer = gatherer
        self._reconciler = reconciler
        self._topic = topic
        self._headers = headers
        self._block_bytes = block_bytes
        self._clock = clock

    async def bury(
        self,
        session: Session,
        ends: Ends,
        checkpoint: Checkpoint,
        state: Reconciling,
        partitions: int,
        follow: Follow,
    ) -> Checkpoint:
        """Write the tombstones that are due and complete the export; the last block of them is known by hindsight."""
        in_hand, why = None, ""
        try:
            async with aclosing(self._tombstones(session, ends, state, partitions)) as tombstones:
                async for block in tombstones:
                    if in_hand is not None:
                        checkpoint = await follow(await self._commit_tombstones(session, checkpoint, in_hand))
                        if session.lost.is_set() or checkpoint.paused or not isinstance(checkpoint.state, Reconciling):
                            return checkpoint
                    in_hand = block
        except ExportLostError as error:
            log.error("tombstones_withheld", connection=self._key.connection, reason=error.reason)
            why = "files_gone"
        return await follow(await self._commit_tombstones(session, checkpoint, in_hand, last=True, why=why))

    def _tombstones(
        self, session: Session, ends: Ends, state: Reconciling, partitions: int
    ) -> AsyncGenerator[Tombstones, None]:
        """All that are still due. Raises ``ExportLostError`` where nobody can tell any more what the export held."""

        async def compare(first: int) -> Comparison:
            current = self._reconciler.current
            if current is not None and (current.first, current.end) == (0, partitions):
                return current
            return await self._see_all(session, ends, state, Share(first=first), partitions)

        block = TombstoneBlock(session, self._key, cause=state.export_id, headers=self._headers)
        keys_of = partial(self._reconciler.keys_of_the_gone, ends, before=must_be_known(state.request))
        return tombstones_due(block, compare, keys_of, partitions=partitions, block_bytes=self._block_bytes)

    async def _see_all(
        self, session: Session, ends: Ends, state: Reconciling, share: Share, partitions: int
    ) -> Comparison:
        """A comparison that has seen the whole export, in a new session or for another share."""
        fetched_at = self._clock.monotonic()
        export = await fetch_again(self._links, state)
        comparison = await self._reconciler.compare(ends, share, partitions)
        end = start_of(export.files, len(export.files))
        begun = Begun(fetched_at, end, partitions)
        await self._gatherer.see(session, ends, export, begun, comparison)
        return comparison

    async def _commit_tombstones(
        self,
        session: Session,
        checkpoint: Checkpoint,
        block: Tombstones | None,
        *,
        last: bool = False,
        why: str = "",
    ) -> Checkpoint:
        def decide(entombed: Entombed) -> Outcome:
            entombed = msgspec.structs.replace(entombed, last=last, withheld_why=why)
            return transition(self._key, checkpoint, entombed, now=self._clock.now())

        return await commit_tombstones(session, self._key, self._topic, block, decide)


class TombstoneBlock:
    """Tombstones of a stream as they are gathered, with their ``cause``: an export's id, or that of a retirement."""

    def __init__(self, session: Session, key: StreamKey, *, cause: str, headers: bool) -> None:
        self._session = session
        self._key = key
        self._cause = cause
        self._headers = headers
        self._begin()

    def _begin(self) -> None:
        self.size = 0
        self._batches = self._session.new_batches()
        self._tallies: dict[int, Tally] = {}

    def add(self, partition: int, key: bytes) -> None:
        headers = tombstone_headers(cause=self._cause, stream=self._key, key=key, headers=self._headers)
        self._batches.append(partition, key, None, encode_headers(headers))
        one = Tally(1, digest_of(key, b""))
        self._tallies[partition] = self._tallies.get(partition, Tally()).plus(one)
        self.size += len(key) + size_of(headers)

    def take(self) -> Tombstones:
        taken = Tombstones(self._batches, self._tallies)
        self._begin()
        return taken


async def tombstones_due(
    block: TombstoneBlock,
    compare: Callable[[int], Awaitable[Comparison]],
    keys_of: Callable[[Comparison], AsyncGenerator[tuple[int, bytes], None]],
    *,
    partitions: int,
    block_bytes: int,
) -> AsyncGenerator[Tombstones, None]:
    """Those of all partitions, in blocks of so many bytes. ``compare`` says what is known from a partition on, and
    ``keys_of`` which entities are gone by that.
    """
    first = 0
    while first < partitions:
        comparison = await compare(first)
        async with aclosing(keys_of(comparison)) as keys:
            async for partition, key in keys:
                block.add(partition, key)
                if block.size >= block_bytes:
                    yield block.take()
        first = comparison.end
    if block.size:
        yield block.take()


async def commit_tombstones(
    session: Session,
    key: StreamKey,
    topic: str,
    block: Tombstones | None,
    decide: Callable[[Entombed], Outcome],
) -> Checkpoint:
    """Publish a block, if there is one, with what is decided of it. Raises ``ProducerLostError``."""
    tallies = block.tallies if block else {}
    counts = Counts(tombstones=sum(tally.records for tally in tallies.values()))

    def conclude(offsets: Mapping[int, Offsets]) -> Outcome:
        return decide(Entombed(counts, partition_counts(tallies, offsets, tombstones=True)))

    batches = block.batches if block else None
    return await session.commit(key, conclude, topic=topic, batches=batches, counts=counts)


def partition_counts(
    tallies: Mapping[int, Tally], offsets: Mapping[int, Offsets], *, tombstones: bool = False
) -> dict[int, PartitionCounts]:
    """What a block adds to each of its partitions, as records or as tombstones."""
    return {
        partition: PartitionCounts(
            records=0 if tombstones else tally.records,
            tombstones=tally.records if tombstones else 0,
            start=offsets[partition].start,
            end=offsets[partition].end,
            digest=f"{tally.digest:016x}",
        )
        for partition, tally in tallies.items()
    }
