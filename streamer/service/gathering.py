"""From an export's files to blocks: closed by size, by age, by a file's end, and when the daemon is to stop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import msgspec

from streamer.core.blocks import Block, BlockLimits, Blocks, Cut, FileToGather, Preparation
from streamer.core.checkpoint import Erased
from streamer.core.comparing import Comparison, Judge
from streamer.core.states import Position
from streamer.kafka.batches import RecordBatches
from streamer.kafka.kernel_blocks import file_blocks
from streamer.metrics import StreamMetrics
from streamer.model import Export, StreamKey
from streamer.service.ahead import END, Chunks, Ends
from streamer.service.clock import Clock
from streamer.service.preparing import LineRules
from streamer.service.reading import FileReader
from streamer.service.reconciling import LeftOffError
from streamer.service.session import Session

Gathered = tuple[Block[RecordBatches], str | None]
"""A block, and the ETag of its file."""


class GatherSettings(msgspec.Struct, frozen=True):
    """The numbers that gathering goes by; sizes in bytes."""

    block: BlockLimits
    max_line_bytes: int
    max_record_bytes: int
    max_dead_letters: int
    headers: bool
    kernel: bool
    """Whether lines are gathered in machine code, where that is installed."""


class Begun(msgspec.Struct, frozen=True):
    """How far an export is published, over how many partitions, and when its links were asked for.

    ``latest`` is a reading of the monotonic clock, None where nobody knows.
    """

    latest: float | None
    position: Position
    partitions: int
    erased: Mapping[str, Erased] = {}
    """Whose lines are kept out."""


class Gatherer:
    """Gathers the blocks of the exports of one stream."""

    def __init__(
        self,
        key: StreamKey,
        *,
        reader: FileReader,
        settings: GatherSettings,
        clock: Clock,
        metrics: StreamMetrics,
        rules: LineRules | None,
    ) -> None:
        self._key = key
        self._reader = reader
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._rules = rules

    async def blocks(
        self,
        session: Session,
        ends: Ends,
        export: Export,
        begun: Begun,
        comparison: Comparison | None,
    ) -> AsyncGenerator[Gathered, None]:
        """Blocks from the position on. They end early where one of ``ends`` is set."""
        position, latest = begun.position, begun.latest
        preparation = None
        if self._rules is not None:
            preparation = self._rules.for_lines(self._key, export.id, self._metrics, begun.erased)
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
            blocks = self._file_blocks(session, export, index, cut, begun.partitions, comparison, preparation)
            async with aclosing(self._gather(ends, blocks, reading.chunks())) as gathering:
                async for block in gathering:
                    # Here rather than when it is sent: the block before it is being published meanwhile.
                    await block.batches.prepare()
                    yield block, reading.etag
            if ends.any_set():
                return
            export, latest = reading.export, reading.fetched_at

    async def see(
        self,
        session: Session,
        ends: Ends,
        export: Export,
        begun: Begun,
        comparison: Comparison,
    ) -> None:
        """Read the files from their first byte up to the position again, and mark what they hold as seen.

        Raises ``LeftOffError`` where one of ``ends`` is set before that is done.
        """
        position, latest = begun.position, begun.latest
        for index, file in enumerate(export.files[: position.file + 1]):
            left = position.offset if index == position.file else file.size + 1
            if not left:
                break
            reading = self._reader.read(
                export, index, fetched_at=latest, etag=position.etag if index == position.file else None
            )
            blocks = self._file_blocks(
                session, export, index, Cut(), begun.partitions, comparison, None, judge=comparison.see
            )
            async with (
                aclosing(reading.chunks()) as chunks,
                Chunks(chunks, *ends.events) as incoming,
            ):
                while left and isinstance(chunk := await incoming.next(within=None), bytes):
                    blocks.feed(chunk[:left])
                    left -= min(left, len(chunk))
                    # What could not be published has been counted and told when it was.
                    blocks.take()
                if ends.any_set():
                    raise LeftOffError("left off in the middle of reading files again")
            if index < position.file:
                blocks.finish()
            export, latest = reading.export, reading.fetched_at

    def _file_blocks(
        self,
        session: Session,
        export: Export,
        index: int,
        cut: Cut,
        partitions: int,
        comparison: Comparison | None,
        preparation: Preparation | None,
        judge: Judge | None = None,
    ) -> Blocks[RecordBatches]:
        settings = self._settings
        file = FileToGather(
            export_id=export.id,
            stream=self._key,
            index=index,
            start=cut,
            partitions=partitions,
            max_line_bytes=settings.max_line_bytes,
            max_record_bytes=settings.max_record_bytes,
            headers=settings.headers,
        )
        return file_blocks(
            file,
            session.new_batches,
            preparation=preparation,
            comparison=comparison,
            judge=judge,
            kernel=settings.kernel,
        )

    async def _gather(
        self, ends: Ends, blocks: Blocks[RecordBatches], source: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[Block[RecordBatches], None]:
        settings, clock = self._settings, self._clock
        opened_at = clock.monotonic()
        async with aclosing(source) as chunks, Chunks(chunks, *ends.events) as incoming:
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
