"""Files gathered into blocks in memory, and what a run of blocks says together."""

from collections.abc import Sequence

import msgspec

from streamer.core.blocks import Block, Cut, DeadLetter, FileBlocks, FileToGather, Tally, digest_of
from streamer.core.record_format import EncodedHeaders
from streamer.core.records import Header
from streamer.model import ConnectionName, EntityType, ExportId, StreamKey

EXPORT = ExportId("e1")
STREAM = StreamKey(ConnectionName("alpine"), EntityType.BILL)
PARTITIONS = 5
Record = tuple[int, bytes, bytes, list[Header]]


class MemoryBatches:
    """Keeps records as they were appended."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, partition: int, key: bytes, value: bytes, headers: EncodedHeaders) -> None:
        self.records.append((partition, key, value, headers_in(headers)))


def headers_in(encoded: EncodedHeaders) -> list[Header]:
    """The headers, of which there are less than 64; nothing may be left over."""
    at = 1

    def part() -> bytes:
        nonlocal at
        length, shift = 0, 0
        while True:
            byte = encoded[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        begin, at = at, at + (length >> 1)
        return encoded[begin:at]

    headers = [(part().decode(), part()) for _ in range(encoded[0] >> 1)]
    assert at == len(encoded)
    return headers


def blocks_from(
    start: Cut = Cut(),  # noqa: B008 (immutable)
    *,
    max_line_bytes: int = 64,
    max_record_bytes: int = 10_000,
    headers: bool = True,
) -> FileBlocks[MemoryBatches]:
    file = FileToGather(
        export_id=EXPORT,
        stream=STREAM,
        index=2,
        start=start,
        partitions=PARTITIONS,
        max_line_bytes=max_line_bytes,
        max_record_bytes=max_record_bytes,
        headers=headers,
    )
    return FileBlocks(file, MemoryBatches)


def whole(
    data: bytes, *, max_line_bytes: int = 64, max_record_bytes: int = 10_000, headers: bool = True
) -> Block[MemoryBatches]:
    """All of a file as one block, from one chunk."""
    blocks = blocks_from(max_line_bytes=max_line_bytes, max_record_bytes=max_record_bytes, headers=headers)
    blocks.feed(data)
    blocks.finish()
    return blocks.take()


def taken(data: bytes, sizes: Sequence[int], start: Cut = Cut()) -> list[Block[MemoryBatches]]:  # noqa: B008
    """The blocks of a file that arrives in chunks of these sizes, over and over: one block a chunk."""
    blocks = blocks_from(start)
    found = []
    position = start.offset
    turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        blocks.feed(data[position : position + size])
        position += size
        turn += 1
        found.append(blocks.take())
    blocks.finish()
    found.append(blocks.take())
    return found


Facts = tuple[list[Record], list[DeadLetter], dict[int, Tally], tuple[int, int, int]]


def facts(blocks: Sequence[Block[MemoryBatches]]) -> Facts:
    """What a run of blocks says together."""
    tallies: dict[int, Tally] = {}
    for block in blocks:
        for partition, tally in block.tallies.items():
            tallies[partition] = tallies.get(partition, Tally()).plus(tally)
    return (
        [record for block in blocks for record in block.batches.records],
        [plain(letter) for block in blocks for letter in block.dead_letters],
        tallies,
        (sum(b.lines for b in blocks), sum(b.records for b in blocks), sum(b.blank for b in blocks)),
    )


ORIGIN = blocks_from()._origin


def plain(letter: DeadLetter) -> DeadLetter:
    """The dead letter with an origin that compares equal."""
    return msgspec.structs.replace(letter, origin=ORIGIN)


def check_invariants(block: Block[MemoryBatches]) -> None:
    assert block.lines == block.records + len(block.dead_letters) + block.blank
    assert block.records == len(block.batches.records) == sum(t.records for t in block.tallies.values())
    for partition, tally in block.tallies.items():
        records = [r for r in block.batches.records if r[0] == partition]
        assert tally.records == len(records) > 0
        assert tally.digest == sum(digest_of(key, value) for _, key, value, _ in records) % 2**64
