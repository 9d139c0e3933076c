"""The entities of the reconciliation benchmark: known by their number, short lines, an `UpdatedUtc` in each."""

from __future__ import annotations

from collections.abc import Iterator

from streamer.core.blocks import FileToGather
from streamer.model import ConnectionName, EntityType, ExportId, StreamKey

TOPIC = "reconcile"
PARTITIONS = 12
STREAM = StreamKey(ConnectionName("benchmark"), EntityType.RESERVATION)


def key_of(number: int) -> bytes:
    """An Id that looks like one of Mews', different for each number."""
    digits = b"%032x" % (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)
    return b"-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def line_of(number: int) -> bytes:
    """The entity's line, about 120 bytes."""
    return b'{"Id":"%s","UpdatedUtc":"2026-03-01T12:%02d:%02dZ","Number":%d,"State":"Confirmed"}' % (
        key_of(number),
        number // 60 % 60,
        number % 60,
        number,
    )


def chunks_of(first: int, end: int, *, lines: int = 2000) -> Iterator[bytes]:
    """A file of the entities of these numbers, in chunks of about 256 KiB as the network gives them."""
    for start in range(first, end, lines):
        yield b"".join(line_of(n) + b"\n" for n in range(start, min(end, start + lines)))


def file_of() -> FileToGather:
    """That file, as the daemon knows it; five headers go with each record."""
    return FileToGather(
        export_id=ExportId("11111111-1111-4111-8111-111111111111"),
        stream=STREAM,
        index=0,
        partitions=PARTITIONS,
        max_line_bytes=1_000_000,
        max_record_bytes=1_048_588,
        headers=True,
    )
