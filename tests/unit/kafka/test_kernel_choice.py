"""Which way lines are gathered: the kernel is optional, but must be there where it can be built."""

from __future__ import annotations

import shutil

import pytest

from streamer.core.blocks import Blocks, FileBlocks, FileToGather, Preparation
from streamer.kafka import kernel_blocks
from streamer.kafka.batches import RecordBatches
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.kernel_blocks import HAS_KERNEL, file_blocks
from streamer.model import ConnectionName, EntityType, ExportId, StreamKey

FORM = BatchFormat(batch_bytes=400, zstd=False, transactional=False)


class Unchanged:
    def prepare(self, line: bytes) -> bytes:
        return line

    def digest(self, line: bytes) -> str:
        return ""


def blocks(*, kernel: bool, preparation: Preparation | None = None) -> Blocks[RecordBatches]:
    file = FileToGather(
        export_id=ExportId("e1"),
        stream=StreamKey(ConnectionName("alpine"), EntityType.BILL),
        index=0,
        partitions=1,
        max_line_bytes=100,
        max_record_bytes=1000,
        headers=True,
    )
    return file_blocks(
        file,
        lambda: RecordBatches(timestamp=1, format=FORM),
        preparation=preparation,
        kernel=kernel,
    )


def test_the_kernel_is_there_wherever_it_can_be_built() -> None:
    # The tests of the kernel are only collected where it is; so this one tells that they were.
    assert HAS_KERNEL or shutil.which("cargo") is None


def test_without_the_kernel_lines_are_gathered_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_blocks, "HAS_KERNEL", False)
    assert isinstance(blocks(kernel=True), FileBlocks)


def test_where_it_is_not_wanted_lines_are_gathered_in_python() -> None:
    assert isinstance(blocks(kernel=False), FileBlocks)


def test_lines_that_are_prepared_one_by_one_are_gathered_in_python() -> None:
    assert isinstance(blocks(kernel=True, preparation=Unchanged()), FileBlocks)
