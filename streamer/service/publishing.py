"""From an export's files to committed records: gather a block, publish it, gather the next one meanwhile.

A block is gathered outside any transaction, so a download that stalls holds nothing open, and while one is being
committed the next is already coming. A block never spans two files, and the last one of a file leaves only once the
file is known to be whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing

import msgspec
import structlog

from streamer.core.blocks import Block
from streamer.core.checkpoint import Checkpoint
from streamer.core.comparing import Comparison
from streamer.core.erasing import why_unknowable
from streamer.core.events import Outcome
from streamer.core.files import first_position, start_of
from streamer.core.inputs import Published
from streamer.core.lifecycle import LifecycleError, transition
from streamer.core.states import Counts, Position, Publishing, Reconciling, Share
from streamer.errors import RetriableError, StreamerError
from streamer.kafka.batches import RecordBatches
from streamer.kafka.producer import Message, Offsets
from streamer.metrics import StreamMetrics
from streamer.model import Export, StreamKey
from streamer.service.ahead import Ends, one_ahead
from streamer.service.burying import Burial, Follow, partition_counts
from streamer.service.clock import Clock
from streamer.service.fetching import fetch_again
from streamer.service.gathering import Begun, Gathered, Gatherer, GatherSettings
from streamer.service.preparing import LineRules
from streamer.service.reading import FileReader, Links
from streamer.service.reconciling import LeftOffError, Reconciler
from streamer.service.session import Session

log = structlog.get_logger()


class TooManyDeadLettersError(StreamerError):
    """An export holds more unpublishable lines than allowed: the stream stops rather than drop a whole export."""


class PublishSettings(msgspec.Struct, frozen=True):
    """The numbers that publishing goes by; sizes in bytes."""

    gather: GatherSettings
    max_dead_letter_bytes: int
    topic: str
    topic_partitions: int


class ExportPublisher:
    """Publishes the exports of one stream. ``slots`` bounds how many exports this process downloads at once."""

    def __init__(
        self,
        key: StreamKey,
        *,
        links: Links,
        reader: FileReader,
        reconciler: Reconciler,
        settings: PublishSettings,
        slots: asyncio.Semaphore,
        clock: Clock,
        metrics: StreamMetrics,
        rules: LineRules | None = None,
    ) -> None:
        self._key = key
        self._links = links
        self._gatherer = Gatherer(
            key, reader=reader, settings=settings.gather, clock=clock, metrics=metrics, rules=rules
        )
        self._rules = rules
        self._reconciler = reconciler
        self._burial = Burial(
            key,
            links=links,
            gatherer=self._gatherer,
            reconciler=reconciler,
            topic=settings.topic,
            headers=settings.gather.headers,
            block_bytes=settings.gather.block.bytes,
            clock=clock,
        )
        self._settings = settings
        self._slots = slots
        self._clock = clock
        self._metrics = metrics

    async def publish(
        self,
        session: Session,
        checkpoint: Checkpoint,
        follow: Follow,
        away: asyncio.Event,
    ) -> Checkpoint:
        """Publish from the checkpoint to the export's end, or until it is to end early; the checkpoint reached.

        ``follow`` is told of each checkpoint committed, and may commit others upon it; it returns the one that holds
        then. ``away`` is set where the stream is wanted elsewhere. Raises ``ProducerLostError``, ``ExportLostError``,
        ``TooManyDeadLettersError``, ``AccessRefusedError`` and, before the first byte, ``RetriableError``.
        """
        ends = Ends(self._clock.stopping, session.lost, away)

        def goes_on(checkpoint: Checkpoint) -> bool:
            # A signal may have paused the stream, or ended the export, right behind a block.
            return not ends.any_set() and not checkpoint.paused

        async with self._slots:
            try:
                while isinstance(checkpoint.state, Publishing) and goes_on(checkpoint):
                    checkpoint = await self._publish_share(session, ends, checkpoint, follow)
                if isinstance(checkpoint.state, Reconciling) and goes_on(checkpoint):
                    partitions = self._partitions(checkpoint)
                    checkpoint = await self._burial.bury(
                        session, ends, checkpoint, checkpoint.state, partitions, follow
                    )
            except LeftOffError:
                return session.checkpoint(self._key) or checkpoint
            finally:
                self._reconciler.drop()
        return checkpoint

    async def _publish_share(self, session: Session, ends: Ends, checkpoint: Checkpoint, follow: Follow) -> Checkpoint:
        """Publish the rest of the files, or what of it belongs to a share of the partitions."""
        state = _publishing(checkpoint)
        if why := why_unknowable(checkpoint, self._rules.erasure if self._rules else None):
            raise RetriableError(why)
        fetched_at = self._clock.monotonic()
        export = await fetch_again(self._links, state)
        partitions = self._partitions(checkpoint)
        comparison = await self._comparison(ends, state, partitions)
        begun = Begun(fetched_at, state.position, partitions, checkpoint.erased)
        if comparison is not None:
            await self._gatherer.see(session, ends, export, begun, comparison)
        if not export.files:
            return await follow(await self._conclude_empty(session, checkpoint, partitions, comparison))
        blocks = self._gatherer.blocks(session, ends, export, begun, comparison)
        async with aclosing(one_ahead(blocks)) as ready:
            async for block in ready:
                checkpoint = await follow(
                    await self._commit(session, checkpoint, export, block, partitions, comparison)
                )
                if session.lost.is_set() or checkpoint.paused or not isinstance(checkpoint.state, Publishing):
                    break
        return checkpoint

    async def _comparison(self, ends: Ends, state: Publishing, partitions: int) -> Comparison | None:
        """What the export is compared with; None where it isn't, or where there is nothing to compare it with yet."""
        if not self._reconciler.compares(state):
            return None
        comparison = await self._reconciler.compare(ends, state.share, partitions, window=state.request.window)
        is_all = comparison.end == partitions and not comparison.too_large
        if state.share is None and is_all and not len(comparison.table):
            self._reconciler.drop()
            return None
        return comparison

    def _partitions(self, checkpoint: Checkpoint) -> int:
        """How many partitions keys are spread over: as many as when the stream first published."""
        now = self._settings.topic_partitions
        if checkpoint.partitions is not None and checkpoint.partitions != now:
            log.error("partitions_added", topic=self._settings.topic, partitions=now, still_used=checkpoint.partitions)
        return checkpoint.partitions or now

    async def _commit(
        self,
        session: Session,
        checkpoint: Checkpoint,
        export: Export,
        gathered: Gathered,
        partitions: int,
        comparison: Comparison | None,
    ) -> Checkpoint:
        block, etag = gathered
        state = _publishing(checkpoint)
        dead_letters = state.counts.dead_letters + len(block.dead_letters)
        limit = self._settings.gather.max_dead_letters
        if dead_letters > limit:
            first = block.dead_letters[0]
            raise TooManyDeadLettersError(
                f"more than {limit} lines of the export can't be published, for example "
                f"file {block.file_index} line {first.line}: {first.reason.message}"
            )
        counts = Counts(
            # Each byte counts once, however often the files are gathered.
            size=block.size if comparison is None or comparison.first == 0 else 0,
            lines=block.lines,
            records=block.records,
            unchanged=block.unchanged,
            dead_letters=len(block.dead_letters),
            blank=block.blank,
            erased=block.erased,
        )
        ends_files = block.ends_file and block.file_index == len(export.files) - 1

        def decide(offsets: Mapping[int, Offsets]) -> Outcome:
            published = self._with_share(
                Published(
                    position=_position_after(block, state.position, export, etag),
                    counts=counts,
                    partitions=partition_counts(block.tallies, offsets),
                    topic=self._settings.topic,
                    topic_partitions=partitions,
                    file_ended=block.ends_file,
                    last=ends_files,
                    erased=block.erased_hashes,
                ),
                checkpoint,
                comparison,
                again=first_position(export.files),
            )
            return transition(self._key, checkpoint, published, now=self._clock.now())

        committed = await session.commit(
            self._key,
            decide,
            topic=self._settings.topic,
            batches=block.batches,
            messages=self._dead_letters(session, block),
            counts=counts,
        )
        for letter in block.dead_letters:
            self._metrics.dead_letter(letter.reason.value)
        return committed

    def _with_share(
        self, published: Published, checkpoint: Checkpoint, comparison: Comparison | None, *, again: Position
    ) -> Published:
        """What was published, and what follows from the comparison: another share, tombstones, the end.

        ``again`` is where the files begin, for another share.
        """
        if comparison is None:
            return published
        self._reconciler.keep_within_memory(comparison)
        state = _publishing(checkpoint)
        share = msgspec.structs.replace(state.share or Share(), end=comparison.end)
        is_final = comparison.end == published.topic_partitions
        if not published.last:
            return msgspec.structs.replace(published, share=share, file_ended=published.file_ended and is_final)
        if not is_final:
            following = self._reconciler.counted(state.request, share, comparison)
            return msgspec.structs.replace(published, share=following, position=again, file_ended=False, last=False)
        verdict = self._reconciler.verdict(checkpoint, state.request, share, comparison)
        return msgspec.structs.replace(
            published, share=share, due=verdict.due, withheld=verdict.withheld, withheld_why=verdict.why
        )

    async def _conclude_empty(
        self, session: Session, checkpoint: Checkpoint, partitions: int, comparison: Comparison | None
    ) -> Checkpoint:
        """An export without files is complete as it is, or nearly so."""
        published = self._with_share(
            Published(
                position=Position(),
                counts=Counts(),
                partitions={},
                topic=self._settings.topic,
                topic_partitions=partitions,
                file_ended=True,
                last=True,
            ),
            checkpoint,
            comparison,
            again=Position(),
        )
        return await session.commit(
            self._key, lambda _offsets: transition(self._key, checkpoint, published, now=self._clock.now())
        )

    def _dead_letters(self, session: Session, block: Block[RecordBatches]) -> list[Message]:
        key = str(self._key).encode()
        longest = self._settings.max_dead_letter_bytes
        return [
            Message(session.topics.dead_letters, key, letter.value[:longest], letter.headers)
            for letter in block.dead_letters
        ]


def _publishing(checkpoint: Checkpoint) -> Publishing:
    if not isinstance(checkpoint.state, Publishing):
        raise LifecycleError(f"a stream that is {checkpoint.phase} can't publish")
    return checkpoint.state


def _position_after(block: Block[RecordBatches], before: Position, export: Export, etag: str | None) -> Position:
    """Where the next block starts: in this file, or at the beginning of the next."""
    if block.ends_file:
        return start_of(export.files, block.file_index + 1)
    return msgspec.structs.replace(before, offset=block.end.offset, line=block.end.line, etag=etag)
