"""From an export's files to committed records: gather a block, publish it, gather the next one meanwhile.

A block is gathered outside any transaction, so a download that stalls holds nothing open, and while one is being
committed the next is already coming. A block never spans two files, and the last one of a file leaves only once the
file is known to be whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TypeVar

import msgspec
import structlog

from streamer.core.blocks import Block, BlockLimits, Cut, Preparation
from streamer.core.checkpoint import Checkpoint, Counts, PartitionCounts, Position, Publishing
from streamer.core.files import file_list, start_of
from streamer.core.lifecycle import LifecycleError, Outcome, Published, transition
from streamer.errors import ExportLostError, RetriableError, StreamerError
from streamer.kafka.batches import RecordBatches
from streamer.kafka.kernel_blocks import file_blocks
from streamer.kafka.producer import Message, Offsets
from streamer.metrics import StreamMetrics
from streamer.model import Export, ExportId, ExportStatus, StreamKey
from streamer.service.clock import Clock
from streamer.service.preparing import LineRules
from streamer.service.reading import FileReader, Links, Reading
from streamer.service.session import Session

log = structlog.get_logger()

T = TypeVar("T")


class TooManyDeadLettersError(StreamerError):
    """An export holds more unpublishable lines than allowed: the stream stops rather than drop a whole export."""


class PublishSettings(msgspec.Struct, frozen=True):
    """The numbers that publishing goes by; sizes in bytes."""

    block: BlockLimits
    max_line_bytes: int
    max_record_bytes: int
    max_dead_letter_bytes: int
    max_dead_letters: int
    headers: bool
    topic: str
    topic_partitions: int
    kernel: bool
    """Whether lines are gathered in machine code, where that is installed."""


class Ends:
    """What ends publishing early: the daemon stops, the session is lost, or a signal wants the stream elsewhere."""

    def __init__(self, *events: asyncio.Event) -> None:
        self.events = events

    def any_set(self) -> bool:
        """Whether it is to end now."""
        return any(event.is_set() for event in self.events)


class ExportPublisher:
    """Publishes the exports of one stream. ``slots`` bounds how many exports this process downloads at once."""

    def __init__(
        self,
        key: StreamKey,
        *,
        links: Links,
        reader: FileReader,
        settings: PublishSettings,
        slots: asyncio.Semaphore,
        clock: Clock,
        metrics: StreamMetrics,
        rules: LineRules | None = None,
    ) -> None:
        self._key = key
        self._rules = rules
        self._links = links
        self._reader = reader
        self._settings = settings
        self._slots = slots
        self._clock = clock
        self._metrics = metrics

    async def publish(
        self,
        session: Session,
        checkpoint: Checkpoint,
        follow: Callable[[Checkpoint], Awaitable[Checkpoint]],
        away: asyncio.Event,
    ) -> Checkpoint:
        """Publish from the checkpoint to the export's end, or until it is to end early; the checkpoint reached.

        ``follow`` is told of each checkpoint committed, and may commit others upon it; it returns the one that holds
        then. ``away`` is set where the stream is wanted elsewhere. Raises ``ProducerLostError``, ``ExportLostError``,
        ``TooManyDeadLettersError``, ``AccessRefusedError`` and, before the first byte, ``RetriableError``.
        """
        ends = Ends(self._clock.stopping, session.lost, away)
        async with self._slots:
            if ends.any_set():
                return checkpoint
            state = _publishing(checkpoint)
            fetched_at = self._clock.monotonic()
            export = await self._export(state)
            if not export.files:
                return await follow(await self._conclude_empty(session, checkpoint))
            partitions = self._partitions(checkpoint)
            blocks = self._blocks(session, ends, state, export, fetched_at, partitions)
            async with aclosing(one_ahead(blocks)) as ready:
                async for block in ready:
                    checkpoint = await follow(await self._commit(session, checkpoint, export, block, partitions))
                    # A signal may have paused the stream, or ended the export, right behind that block.
                    if session.lost.is_set() or checkpoint.paused or not isinstance(checkpoint.state, Publishing):
                        break
        return checkpoint

    def _partitions(self, checkpoint: Checkpoint) -> int:
        """How many partitions keys are spread over: as many as when the stream first published."""
        now = self._settings.topic_partitions
        if checkpoint.partitions is not None and checkpoint.partitions != now:
            log.error("partitions_added", topic=self._settings.topic, partitions=now, still_used=checkpoint.partitions)
        return checkpoint.partitions or now

    async def _export(self, state: Publishing) -> Export:
        """The export with fresh links, if it still is what publishing began with."""
        export = await self._links.fetch(state.export_id)
        if export is None:
            raise ExportLostError("Mews does not know the export any more", expired=True)
        match export.status:
            case ExportStatus.SUCCESS:
                pass
            case ExportStatus.EXPIRED:
                raise ExportLostError("the export expired before it was published", expired=True)
            case ExportStatus.FAILED:
                raise ExportLostError("the export failed while it was being published")
            case _:
                status = export.raw_status or export.status.value
                raise RetriableError(f"the export's files are not ready any more (status {status})")
        if file_list(export.files) != state.files:
            raise ExportLostError("the export's files are not those that publishing began with")
        return export

    async def _blocks(
        self, session: Session, ends: Ends, state: Publishing, export: Export, fetched_at: float, partitions: int
    ) -> AsyncGenerator[tuple[Block[RecordBatches], str | None], None]:
        """Blocks from the checkpoint on, each with the ETag of its file. Ends early where the daemon is to stop."""
        position = state.position
        preparation = self._rules.for_export(self._key, export.id, self._metrics) if self._rules else None
        latest: float | None = fetched_at
        for index in range(position.file, len(export.files)):
            cut = Cut(position.offset, position.line) if index == position.file else Cut()
            reading = self._reader.read(
                export,
                index,
                fetched_at=latest,
                offset=cut.offset,
                etag=position.etag if index == position.file else None,
            )
            if cut.offset:
                self._metrics.download_resumed()
            gathering = self._gather(session, ends, reading, export.id, index, cut, partitions, preparation)
            async with aclosing(gathering):
                async for block in gathering:
                    yield block, reading.etag
            if ends.any_set():
                return
            export, latest = reading.export, reading.fetched_at

    async def _gather(
        self,
        session: Session,
        ends: Ends,
        reading: Reading,
        export_id: ExportId,
        index: int,
        cut: Cut,
        partitions: int,
        preparation: Preparation | None,
    ) -> AsyncGenerator[Block[RecordBatches], None]:
        """The blocks of one file: closed by size, by age, by the file's end, and when the daemon is to stop."""
        settings, clock = self._settings, self._clock
        blocks = file_blocks(
            export_id=export_id,
            stream=self._key,
            file_index=index,
            start=cut,
            partitions=partitions,
            max_line_bytes=settings.max_line_bytes,
            max_record_bytes=settings.max_record_bytes,
            headers=settings.headers,
            new_batches=session.new_batches,
            preparation=preparation,
            kernel=settings.kernel,
        )
        opened_at = clock.monotonic()
        async with aclosing(reading.chunks()) as chunks, Chunks(chunks, *ends.events) as incoming:
            while True:
                age = clock.monotonic() - opened_at
                chunk = await incoming.next(within=None if blocks.is_empty else settings.block.seconds - age)
                if chunk is END:
                    blocks.finish()
                    yield blocks.take()
                    return
                if isinstance(chunk, bytes):
                    if blocks.is_empty:
                        opened_at = clock.monotonic()
                    blocks.feed(chunk)
                full = settings.block.is_full(blocks.size, clock.monotonic() - opened_at)
                crowded = blocks.dead_letters > settings.max_dead_letters
                if not blocks.is_empty and (full or crowded or ends.any_set()):
                    yield blocks.take()
                    opened_at = clock.monotonic()
                if ends.any_set():
                    return

    async def _commit(
        self,
        session: Session,
        checkpoint: Checkpoint,
        export: Export,
        gathered: tuple[Block[RecordBatches], str | None],
        partitions: int,
    ) -> Checkpoint:
        block, etag = gathered
        state = _publishing(checkpoint)
        dead_letters = state.counts.dead_letters + len(block.dead_letters)
        if dead_letters > self._settings.max_dead_letters:
            first = block.dead_letters[0]
            raise TooManyDeadLettersError(
                f"more than {self._settings.max_dead_letters} lines of the export can't be published, for example "
                f"file {block.file_index} line {first.line}: {first.reason.message}"
            )
        counts = Counts(
            size=block.size,
            lines=block.lines,
            records=block.records,
            dead_letters=len(block.dead_letters),
            blank=block.blank,
        )

        def decide(offsets: Mapping[int, Offsets]) -> Outcome:
            published = Published(
                position=_position_after(block, state.position, export, etag),
                counts=counts,
                partitions=_partition_counts(block, offsets),
                topic=self._settings.topic,
                topic_partitions=partitions,
                file_ended=block.ends_file,
                last=block.ends_file and block.file_index == len(export.files) - 1,
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

    async def _conclude_empty(self, session: Session, checkpoint: Checkpoint) -> Checkpoint:
        """An export without files is complete as it is."""
        published = Published(
            position=Position(),
            counts=Counts(),
            partitions={},
            topic=self._settings.topic,
            topic_partitions=self._settings.topic_partitions,
            file_ended=True,
            last=True,
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


def _partition_counts(block: Block[RecordBatches], offsets: Mapping[int, Offsets]) -> dict[int, PartitionCounts]:
    return {
        partition: PartitionCounts(
            records=tally.records,
            tombstones=0,
            start=offsets[partition].start,
            end=offsets[partition].end,
            digest=f"{tally.digest:016x}",
        )
        for partition, tally in block.tallies.items()
    }


class _End:
    """Nothing more will come."""


END = _End()


class Chunks:
    """Chunks of a download that can be waited for with a limit, without cancelling the read (which would end it).

    ``ends`` are events after which nobody wants any more of them.
    """

    def __init__(self, source: AsyncIterator[bytes], *ends: asyncio.Event) -> None:
        self._source = source
        self._reading: asyncio.Task[bytes | _End] | None = None
        self._ends = [asyncio.create_task(end.wait()) for end in ends]

    async def __aenter__(self) -> Chunks:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._ends, *([self._reading] if self._reading else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def next(self, *, within: float | None) -> bytes | _End | None:
        """The next chunk, ``END``, or None after ``within`` seconds or as soon as one of ``ends`` is set."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        limit = None if within is None else max(0.0, within)
        await asyncio.wait({self._reading, *self._ends}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return None
        chunk = self._reading.result()
        self._reading = None
        return chunk

    async def _read(self) -> bytes | _End:
        return await anext(self._source, END)


async def one_ahead(blocks: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items, with the next one already being made while the caller works on the last."""

    async def upcoming() -> T | _End:
        return await anext(blocks, END)

    task = asyncio.create_task(upcoming())
    try:
        while not isinstance(item := await task, _End):
            task = asyncio.create_task(upcoming())
            yield item
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await blocks.aclose()
