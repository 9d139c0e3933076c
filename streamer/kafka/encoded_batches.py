"""The seam to what aiokafka asks of a batch: batches that were encoded, and compressed, before it gets them.

aiokafka's own builder takes twice as long to encode a record with headers, and checksums and compresses on the event
loop, when a request is made up: with tables in software, ten times slower than the processor's own instruction, and at
zstd's level 3. For entities level 1 makes batches as small (6.4 times against 6.2 on lifelike lines), takes two thirds
of the time there and a third of it on lines that compress badly (measured, ms per MiB: 1.6 against 2.2, and 2.1 against
5.9). Of these here all that is left to do by then is to write down who sends them. Tests compare every byte with what
aiokafka's builder makes of the same records, and fail where a new version asks a batch for anything else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import google_crc32c
import msgspec
from aiokafka.record.util import calc_crc32c
from cramjam import zstd

from streamer.kafka.flat_requests import Unjoined

if TYPE_CHECKING:  # The kernel may not be there; who makes its batches has it.
    from streamer_kernel import Batch

HEADER_BYTES: Final = 61
"""Of a batch, before its records (KIP-98)."""

ZSTD_LEVEL: Final = 1

_BEFORE_CHECKSUM: Final = struct.Struct(">qiibI")
"""Base offset, length of what follows, the leader's epoch, magic; and the checksum of what comes then."""
_CHECKED: Final = struct.Struct(">hiqqqhii")
"""Attributes, last offset, first and last timestamp, producer, its epoch and sequence number, number of records."""
_MAGIC: Final = 2
_UNCOUNTED: Final = 12
"""Of the header, what a batch's length doesn't count."""
_ZSTD: Final = 4
_TRANSACTIONAL: Final = 0x10
_NOBODY: Final = (-1, -1, 0)
"""What stands in a batch of which nobody has said who sends it."""


class BatchFormat(msgspec.Struct, frozen=True):
    """How a producer's batches are to be encoded; ``batch_bytes`` is their size before compression, with header."""

    batch_bytes: int
    zstd: bool
    transactional: bool


class _ReadyBatch:
    """What aiokafka asks of a batch that nothing can be added to any more; ``timestamp`` is that of all its records."""

    _buffer: Any

    def __init__(self, records: int, *, transactional: bool, timestamp: int) -> None:
        self._records = records
        self._attributes = _TRANSACTIONAL if transactional else 0
        self._timestamp = timestamp
        self._sealed = False

    def record_count(self) -> int:
        return self._records

    def size(self) -> int:
        return len(self._buffer)

    def closed(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing: it is."""

    def append(self, **_: object) -> None:
        """Always full."""

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._seal(producer_id, producer_epoch, base_sequence)
        self._sealed = True

    def _build(self) -> Any:
        """All bytes; asked for again when a request is sent again, and then the same."""
        if not self._sealed:
            self._set_producer_state(*_NOBODY)
        return self._buffer

    def _seal(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        raise NotImplementedError


class PythonBatch(_ReadyBatch):
    """A batch of records that were encoded in Python; ``encoded`` are their bytes, in pieces."""

    def __init__(self, encoded: Sequence[bytes], records: int, *, transactional: bool, timestamp: int) -> None:
        super().__init__(records, transactional=transactional, timestamp=timestamp)
        self._encoded = encoded

    def size(self) -> int:
        return HEADER_BYTES + sum(map(len, self._encoded))

    def compress(self) -> None:
        """Compress the records, unless that makes them larger. Takes a few ms for each MiB."""
        if compressed := _compressed(b"".join(self._encoded)):
            self._encoded = [compressed]
            self._attributes |= _ZSTD

    def _seal(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        checked = _CHECKED.pack(
            self._attributes,
            self._records - 1,
            self._timestamp,
            self._timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            self._records,
        )
        checksum = _checksum([checked, *self._encoded])
        before = _BEFORE_CHECKSUM.pack(0, self.size() - _UNCOUNTED, -1, _MAGIC, checksum)
        # They are written as they are.
        self._buffer = Unjoined([before, checked, *self._encoded])


class KernelBatch(_ReadyBatch):
    """A batch that the kernel has encoded."""

    def __init__(self, batch: Batch, *, transactional: bool, timestamp: int) -> None:
        super().__init__(batch.records, transactional=transactional, timestamp=timestamp)
        self._buffer: Batch = batch

    def compress(self) -> None:
        """Compress the records, unless that makes them larger. Takes a few ms for each MiB."""
        with memoryview(self._buffer) as whole:
            compressed = _compressed(whole[HEADER_BYTES:])
        if compressed:
            self._buffer.replace_records(compressed)
            self._attributes |= _ZSTD

    def _seal(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._buffer.seal(self._attributes, self._timestamp, producer_id, producer_epoch, base_sequence)


AnyBatch: TypeAlias = PythonBatch | KernelBatch


def _compressed(records: bytes | memoryview) -> bytes | None:
    """The records by zstd, or None where that would make them larger."""
    compressed = bytes(zstd.compress(records, level=ZSTD_LEVEL))
    return compressed if len(compressed) <= len(records) else None


def _checksum(pieces: Sequence[bytes]) -> int:
    """CRC32C of the pieces, one behind the other."""
    if google_crc32c.implementation == "c":
        return reduce(google_crc32c.extend, pieces, 0)
    # Where there is no wheel for the machine, that package comes without its C part.
    return int(calc_crc32c(b"".join(pieces)))
