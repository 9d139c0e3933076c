"""The entities of the reconciliation benchmark: known by their number, short lines, an `UpdatedUtc` in each."""

from __future__ import annotations

from collections.abc import Iterator

TOPIC = "reconcile"
PARTITIONS = 12
SOURCE = b"/mews/benchmark"


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


def headers_of(number: int) -> list[tuple[str, bytes]]:
    """The headers of a record, as the daemon writes them."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"11111111-1111-4111-8111-111111111111/0/%d" % (number * 120)),
        ("ce_source", SOURCE),
        ("ce_type", b"com.mews.Reservation"),
        ("content-type", b"application/json"),
    ]


def chunks_of(entities: int, *, lines: int = 2000) -> Iterator[bytes]:
    """A file of all of them, in chunks of about 256 KiB as the network gives them."""
    for start in range(0, entities, lines):
        yield b"".join(line_of(n) + b"\n" for n in range(start, min(entities, start + lines)))
