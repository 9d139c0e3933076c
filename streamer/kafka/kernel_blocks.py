"""Gather the lines of a file in machine code, where the kernel is installed: what ``FileBlocks`` does, to the byte.

What a newcomer would get wrong:

* Without the kernel everything works, and only costs more. Which way is taken is decided in ``file_blocks`` alone.
* The kernel judges only what is plainly good. Each line else comes back to ``_judge_line``, so what is wrong with a
  line is known in one place, and the kernel can't come to another verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from streamer.core.blocks import Blocks, Counted, Cut, FileBlocks, FileToGather, Preparation, Tally
from streamer.core.comparing import Compared, ComparedBlocks, Comparison, Judge, key_and_update, key_of
from streamer.core.differences import Facts, microseconds
from streamer.core.lines import is_utf8
from streamer.core.partitioner import partition_of
from streamer.core.records import Reason, why_no_record
from streamer.kafka.batches import RecordBatches

KERNEL_VERSION: Final = "0.3.0"
"""The one that fits. Another one may have been left over from other sources, and is not used."""

try:
    import streamer_kernel
except ImportError:
    HAS_KERNEL = False
else:
    HAS_KERNEL = streamer_kernel.__version__ == KERNEL_VERSION

Keyed = tuple[bytes, int]
"""The key of a line that can be published all the same, and its ``UpdatedUtc`` in microseconds."""


class KernelBlocks(Blocks[RecordBatches]):
    """``Blocks`` whose loop over the lines is the kernel's."""

    def __init__(self, file: FileToGather, new_batches: Callable[[], RecordBatches], **comparing: Any) -> None:
        super().__init__(file, new_batches)
        self._gatherer = streamer_kernel.Gatherer(
            offset=file.start.offset,
            lines=file.start.line,
            partitions=file.partitions,
            headers=self._origin.headers_less_offset,
            max_line_bytes=file.max_line_bytes,
            record_room=self._origin.record_room,
            batch_bytes=self._batches.format.batch_bytes,
            judge=self._judge_line,
            **comparing,
        )

    def feed(self, chunk: bytes) -> None:
        self._gatherer.feed(chunk)

    def _end(self) -> None:
        self._gatherer.finish()

    def _reached(self) -> Cut:
        return Cut(self._gatherer.offset, self._gatherer.lines)

    def _counted(self) -> Counted:
        partitions, blank, unchanged, elsewhere = self._gatherer.take()
        for partition, _, _, batches in partitions:
            self._batches.add(partition, batches)
        tallies = {partition: Tally(records, digest) for partition, records, digest, _ in partitions}
        return Counted(tallies=tallies, blank=blank, unchanged=unchanged, elsewhere=elsewhere)

    def _judge_line(self, line: bytes, length: int, number: int, offset: int) -> Keyed | None:
        """A line that the kernel was not sure of: what it needs to know of it, or None once the line is set aside."""
        is_long = length > self._file.max_line_bytes
        key = b"" if is_long else key_of(line)
        if key and self._can_be_published(key, line):
            return key, 0
        self._bury(line, Reason.LINE_TOO_LONG if is_long else why_no_record(line), number, offset, length)
        return None

    def _can_be_published(self, key: bytes, line: bytes) -> bool:
        return len(key) + len(line) <= self._origin.record_room and is_utf8(line)


class ComparedKernelBlocks(Compared[RecordBatches], KernelBlocks):
    """``Compared`` whose loop over the lines, and over what is known of them, is the kernel's."""

    def __init__(
        self,
        file: FileToGather,
        new_batches: Callable[[], RecordBatches],
        *,
        comparison: Comparison,
        judge: Judge,
    ) -> None:
        self._comparison = comparison
        self._judge = judge
        super().__init__(file, new_batches, share=(comparison.first, comparison.end), news=self._news)

    def _counted(self) -> Counted:
        counted = super()._counted()
        blank = counted.blank if self._is_with_first() else 0
        elsewhere = counted.elsewhere + self._elsewhere + counted.blank - blank
        return msgspec.structs.replace(counted, blank=blank, elsewhere=elsewhere)

    def _news(self, partition: int, keys: bytes, checks: bytes, values: bytes, updated: bytes) -> bytes:
        """For each line of a partition whether it is published: a byte, 0 or 1."""
        facts = Facts(
            np.frombuffer(keys, np.uint64),
            np.frombuffer(checks, np.uint32),
            np.frombuffer(values, np.uint64),
            np.frombuffer(updated, np.int64),
        )
        return self._judge(partition, facts).tobytes()

    def _judge_line(self, line: bytes, length: int, number: int, offset: int) -> Keyed | None:
        is_long = length > self._file.max_line_bytes
        key, updated = (b"", None) if is_long else key_and_update(line)
        if key:
            if not self._is_of_share(partition_of(key, self._file.partitions)):
                return None
            if self._can_be_published(key, line):
                (moment,) = microseconds([updated]).tolist()
                return key, moment
            self._see_alone(partition_of(key, self._file.partitions), key)
        elif not self._is_unreadable():
            return None
        self._bury(line, Reason.LINE_TOO_LONG if is_long else why_no_record(line), number, offset, length)
        return None


def file_blocks(
    file: FileToGather,
    new_batches: Callable[[], RecordBatches],
    *,
    preparation: Preparation | None = None,
    comparison: Comparison | None = None,
    judge: Judge | None = None,
    kernel: bool,
) -> Blocks[RecordBatches]:
    """What gathers the lines of one file: the kernel where it is installed and wanted.

    Lines that are looked at one by one, to be changed or held against a schema, are gathered in Python. With a
    ``comparison``, ``judge`` says which of them are published; by default it is the comparison's own.
    """
    in_kernel = kernel and HAS_KERNEL and preparation is None
    if comparison is not None:
        judge = judge or comparison.judge
        if in_kernel:
            return ComparedKernelBlocks(file, new_batches, comparison=comparison, judge=judge)
        return ComparedBlocks(file, new_batches, comparison=comparison, judge=judge, preparation=preparation)
    if in_kernel:
        return KernelBlocks(file, new_batches)
    return FileBlocks(file, new_batches, preparation=preparation)
