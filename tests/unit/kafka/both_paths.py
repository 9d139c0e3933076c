"""The same file through the kernel and through the Python path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamer.core.blocks import Block, Cut, FileBlocks, FileToGather
from streamer.core.comparing import Comparison, Judge
from streamer.kafka.batches import RecordBatches
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.kernel_blocks import KernelBlocks, file_blocks
from streamer.model import ConnectionName, EntityType, ExportId, StreamKey
from tests.unit.core.cut_lines import BOM

NOW = 1_700_000_000_000
ODD_FILE = (
    BOM + b'{"Id":"a"}\n\r\n \n{"Id":null}\n{"Id":"\xc3\xa9"}\r\n{"Id":"\xff"}\n' + b"y" * 92 + b"\r\n"
    b'{"Id":"' + b"z" * 81 + b'"}\r\n{"Id":"b"}'
)


def gathered(
    chunks: Sequence[bytes],
    *,
    kernel: bool,
    form: BatchFormat,
    headers: bool = True,
    start: Cut = Cut(),  # noqa: B008 (immutable)
    partitions: int = 3,
    max_line_bytes: int = 90,
    max_record_bytes: int = 10_000,
    comparison: Comparison | None = None,
    judge: Judge | None = None,
) -> list[Block[RecordBatches]]:
    """A block for each chunk, and the last one."""
    file = FileToGather(
        export_id=ExportId("e1"),
        stream=StreamKey(ConnectionName("alpine"), EntityType.BILL),
        index=2,
        start=start,
        partitions=partitions,
        max_line_bytes=max_line_bytes,
        max_record_bytes=max_record_bytes,
        headers=headers,
    )
    blocks = file_blocks(
        file,
        lambda: RecordBatches(timestamp=NOW, format=form),
        comparison=comparison,
        judge=judge,
        kernel=kernel,
    )
    assert isinstance(blocks, KernelBlocks if kernel else FileBlocks)
    taken = []
    for chunk in chunks:
        blocks.feed(chunk)
        seen = (blocks.size, blocks.is_empty, blocks.dead_letters)
        taken.append(blocks.take())
        assert seen == (taken[-1].size, taken[-1].size == 0, len(taken[-1].dead_letters))
    blocks.finish()
    return [*taken, blocks.take()]


def told(block: Block[RecordBatches], form: BatchFormat) -> Any:
    """All there is to know of a block: what it counts, and the bytes that go to Kafka."""
    if form.zstd:
        block.batches.compress()
    sent = {}
    for partition, batches in block.batches.close().items():
        for sequence, batch in enumerate(batches):
            batch._set_producer_state(7_000_000_001, 3, sequence)
        sent[partition] = [(batch.record_count(), bytes(batch._build()), batch.size()) for batch in batches]
    letters = [(letter.value, letter.reason, letter.headers) for letter in block.dead_letters]
    counts = (block.records, block.unchanged, block.elsewhere, block.blank)
    return block.start, block.end, counts, block.tallies, block.ends_file, letters, sent


def ensure_same(chunks: Sequence[bytes], form: BatchFormat | None = None, **options: Any) -> None:
    form = form or BatchFormat(batch_bytes=400, zstd=False, transactional=True)
    expected = [told(block, form) for block in gathered(chunks, kernel=False, form=form, **options)]
    assert [told(block, form) for block in gathered(chunks, kernel=True, form=form, **options)] == expected
