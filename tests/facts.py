"""Records, exports and the rules between them, written a second time and without the product.

A mistake in its partitioner, its line splitter or its digests is not repeated here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import xxhash


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a consumer sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 0
    """When its writer made it, in milliseconds since 1970."""

    def header(self, name: str) -> str:
        """The header's text, empty where there is none."""
        return next((value.decode(errors="replace") for key, value in self.headers if key == name), "")

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True)
class Published:
    """All that is committed to some topics: records in the order of their offsets, and partitions, by topic."""

    records: Mapping[str, Sequence[Record]]
    partitions: Mapping[str, int]


@dataclass(frozen=True)
class Served:
    """What Mews had in an export: its type, and for each file where its bytes come from."""

    entity_type: str
    files: tuple[Callable[[], bytes], ...]


def lines_of(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    r"""Number (from 1), byte offset and bytes of each line; only ``\n`` ends one, and a ``\r`` before it goes too."""
    offset = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    number = 0
    while offset < len(data):
        end = data.find(b"\n", offset)
        end = len(data) if end < 0 else end
        number += 1
        line = data[offset:end]
        yield number, offset, line[:-1] if line.endswith(b"\r") else line
        offset = end + 1


def id_of(line: bytes) -> str | None:
    """The entity's Id; None where there is none that could be a key."""
    try:
        entity = json.loads(line.decode(), parse_constant=_no_json)
        if b"\\u" in line:
            # Half a surrogate pair is no text in any encoding, wherever in the line it stands.
            json.dumps(entity, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    found = entity.get("Id") if isinstance(entity, dict) else None
    return found if isinstance(found, str) and found else None


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is JavaScript")


def slug(entity_type: str) -> str:
    """``OrderItem`` as ``order-item``."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in entity_type).removeprefix("-")


def digest_of(record: Record) -> int:
    """xxh3-64 over key, a zero byte and value."""
    return xxhash.xxh3_64(b"\0".join(((record.key or b""), (record.value or b"")))).intdigest()


def murmur2(data: bytes) -> int:
    """The hash of Kafka's Java client (``Utils.murmur2``), with the sign bit taken off (``Utils.toPositive``)."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    length = len(data)
    mixed = 0x9747B28C ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        part = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        part = (part ^ part >> 24) * multiplier & mask
        mixed = mixed * multiplier & mask ^ part
    if length > whole:
        mixed = (mixed ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    mixed = (mixed ^ mixed >> 13) * multiplier & mask
    return (mixed ^ mixed >> 15) & 0x7FFFFFFF
