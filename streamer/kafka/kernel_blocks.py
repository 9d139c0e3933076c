"""Gather the lines of a file in machine code, where the kernel is installed: what ``FileBlocks`` does, to the byte.

What a newcomer would get wrong:

* Without the kernel everything works, and only costs more. Which way is taken is decided in ``file_blocks`` alone.
* The kernel judges only what is plainly good. Each line else comes back to ``_judge``, so what is wrong with a line is
  known in one place, and the kernel can't come to another verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streamer.core.blocks import Block, Cut, DeadLetter, FileBlocks, Preparation, Tally
from streamer.core.lines import is_utf8
from streamer.core.records import UNREADABLE, Origin, Reason, identify, why_no_record
from streamer.kafka.batches import RecordBatches
from streamer.model import ExportId, StreamKey

KERNEL_VERSION: Final = "0.1.0"
"""The one that fits. Another one may have been left over from other sources, and is not used."""

try:
    import streamer_kernel
except ImportError:
    HAS_KERNEL = False
else:
    HAS_KERNEL = streamer_kernel.__version__ == KERNEL_VERSION


class KernelBlocks:
    """A ``FileBlocks`` whose loop over the lines is the kernel's."""

    def __init__(
        self,
        *,
        export_id: ExportId,
        stream: StreamKey,
        file_index: int,
        start: Cut,
        partitions: int,
        max_line_bytes: int,
        max_record_bytes: int,
        headers: bool,
        new_batches: Callable[[], RecordBatches],
    ) -> None:
        self._origin = Origin(
            export_id=export_id,
            stream=stream,
            file_index=file_index,
            headers=headers,
            max_record_bytes=max_record_bytes,
        )
        self._file_index = file_index
        self._max_line_bytes = max_line_bytes
        self._new_batches = new_batches
        self._finished = False
        self._begin(start)
        self._gatherer = streamer_kernel.Gatherer(
            offset=start.offset,
            lines=start.line,
            partitions=partitions,
            headers=self._origin.headers_less_offset,
            max_line_bytes=max_line_bytes,
            record_room=self._origin.record_room,
            batch_bytes=self._batches.format.batch_bytes,
            judge=self._judge,
        )

    def _begin(self, start: Cut) -> None:
        self._start = start
        self._batches = self._new_batches()
        self._dead_letters: list[DeadLetter] = []

    @property
    def size(self) -> int:
        """Bytes of whole lines gathered in the open block; an unfinished line does not count."""
        return self._gatherer.offset - self._start.offset

    @property
    def is_empty(self) -> bool:
        """Whether a block taken now would leave its checkpoint where it is."""
        return self.size == 0

    @property
    def dead_letters(self) -> int:
        """How many dead letters are in the open block."""
        return len(self._dead_letters)

    def feed(self, chunk: bytes) -> None:
        """Gather the lines that end within the next bytes of the file."""
        self._gatherer.feed(chunk)

    def finish(self) -> None:
        """The file is whole: what follows its last newline is a line too. Nothing may be fed afterwards."""
        self._gatherer.finish()
        self._finished = True

    def take(self) -> Block[RecordBatches]:
        """Hand out what is gathered, and begin the next block, which any unfinished line will belong to."""
        partitions, blank = self._gatherer.take()
        for partition, _, _, batches in partitions:
            self._batches.add(partition, batches)
        end = Cut(self._gatherer.offset, self._gatherer.lines)
        block = Block(
            file_index=self._file_index,
            start=self._start,
            end=end,
            records=sum(records for _, records, _, _ in partitions),
            dead_letters=tuple(self._dead_letters),
            blank=blank,
            tallies={partition: Tally(records, digest) for partition, records, digest, _ in partitions},
            batches=self._batches,
            ends_file=self._finished,
        )
        self._begin(end)
        return block

    def _judge(self, line: bytes, length: int, number: int, offset: int) -> bytes | None:
        """The key of a line that the kernel was not sure of, or None once it has become a dead letter."""
        if length > self._max_line_bytes:
            reason = Reason.LINE_TOO_LONG
        else:
            try:
                key = identify(line).id.encode()
            except UNREADABLE:
                key = b""
            if key and len(key) + len(line) <= self._origin.record_room and is_utf8(line):
                return key
            reason = why_no_record(line)
        value = line[: self._origin.dead_letter_room]
        self._dead_letters.append(DeadLetter(value, reason, number, offset, length, self._origin))
        return None


def file_blocks(
    *,
    export_id: ExportId,
    stream: StreamKey,
    file_index: int,
    start: Cut,
    partitions: int,
    max_line_bytes: int,
    max_record_bytes: int,
    headers: bool,
    new_batches: Callable[[], RecordBatches],
    preparation: Preparation | None,
    kernel: bool,
) -> FileBlocks[RecordBatches] | KernelBlocks:
    """What gathers the lines of one file from a cut on: the kernel where it is installed and wanted.

    Lines that are looked at one by one, to be changed or held against a schema, are gathered in Python.
    """
    if kernel and HAS_KERNEL and preparation is None:
        return KernelBlocks(
            export_id=export_id,
            stream=stream,
            file_index=file_index,
            start=start,
            partitions=partitions,
            max_line_bytes=max_line_bytes,
            max_record_bytes=max_record_bytes,
            headers=headers,
            new_batches=new_batches,
        )
    return FileBlocks(
        export_id=export_id,
        stream=stream,
        file_index=file_index,
        start=start,
        partitions=partitions,
        max_line_bytes=max_line_bytes,
        max_record_bytes=max_record_bytes,
        headers=headers,
        new_batches=new_batches,
        preparation=preparation,
    )
