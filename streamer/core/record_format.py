"""Write the parts of a record as Kafka's message format 2 has them (KIP-98).

What a newcomer would get wrong:

* Every number within a record is a varint with its sign in the lowest bit, lengths too: a length of 64 takes two
  bytes, and -1, the length of what is null, is a 1.
* The names of headers are text, their values bytes, and each record has all of them anew: nothing of them is shared
  within a batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

EncodedHeaders: TypeAlias = bytes
"""The last part of a record: how many headers it has, and the headers."""


def _varint(number: int) -> bytes:
    rest = number << 1
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


VARINTS: Final = tuple(_varint(number) for number in range(8192))
"""Those of one and of two bytes, by their number: looked up, they cost less than a tenth of what writing them does."""


def varint(number: int) -> bytes:
    """A number that is not negative; any that a record can have takes at most five bytes."""
    return VARINTS[number] if number < len(VARINTS) else _varint(number)


NULL: Final = b"\1"
"""The length of a key or a value that there is none of."""


def encode_headers(headers: Iterable[tuple[str, bytes]]) -> EncodedHeaders:
    """Headers in the order given."""
    pieces = [piece for name, value in headers for piece in _header(name.encode(), value)]
    return b"".join([varint(len(pieces) // 4), *pieces])


def _header(name: bytes, value: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return varint(len(name)), name, varint(len(value)), value


NO_HEADERS: Final = encode_headers([])
