"""Find the partition of a key exactly as Kafka's Java client does, so that other producers and joins agree.

The rule is ``toPositive(murmur2(key)) % partitions``, over all partitions of the topic whether or not they
have a leader. ``toPositive`` clears the sign bit, which is not the same as an absolute value. MurmurHash2 is
neither MurmurHash3 nor the 64-bit MurmurHash2A; packages for those give other numbers, therefore
``check_partitioner``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streamer.errors import FatalError

SEED: Final = 0x9747B28C
"""The seed that Kafka's Java client has built in."""

_MULTIPLIER: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF


def murmur2_in_python(key: bytes, seed: int = SEED) -> int:
    """MurmurHash2 of the key as an unsigned 32-bit number: some 25 times slower than the C package."""
    hashed = seed ^ len(key)
    whole = len(key) & ~3
    for position in range(0, whole, 4):
        word = int.from_bytes(key[position : position + 4], "little") * _MULTIPLIER & _WORD
        word = (word ^ word >> 24) * _MULTIPLIER & _WORD
        hashed = hashed * _MULTIPLIER & _WORD ^ word
    if whole < len(key):
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * _MULTIPLIER & _WORD
    hashed = (hashed ^ hashed >> 13) * _MULTIPLIER & _WORD
    return hashed ^ hashed >> 15


murmur2: Callable[[bytes, int], int]
"""MurmurHash2 of a key with a seed, unsigned 32 bit: in C, or in Python where no wheel fits the machine."""

try:
    from murmurhash2 import murmurhash2 as murmur2
except ImportError:
    murmur2 = murmur2_in_python


def partition_of(key: bytes, partitions: int) -> int:
    """The partition, from 0, that a key belongs to in a topic of so many partitions (at least 1)."""
    return (murmur2(key, SEED) & 0x7FFFFFFF) % partitions


PUBLISHED_HASHES: Final = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
"""What Kafka's own tests expect of murmur2, as Java's signed 32-bit numbers."""


def check_partitioner(hash_of: Callable[[bytes, int], int] | None = None) -> None:
    """Compare the hash in use with the published ones; to be called once at the start.

    Raises ``FatalError`` when they differ: records would go to partitions where nobody looks for them.
    """
    hash_of = hash_of or murmur2
    for key, signed in PUBLISHED_HASHES.items():
        if hash_of(key, SEED) != signed & _WORD:
            raise FatalError(
                f"murmur2 of {key!r} is not what Kafka's Java client makes of it: the package murmurhash2"
                " is not the one streamer was made for, install the version that it asks for"
            )
