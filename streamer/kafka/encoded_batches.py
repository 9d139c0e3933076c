"""The seam to what aiokafka asks of a batch: batches that were encoded, and compressed, before it gets them.

aiokafka's own builder compresses and checksums on the event loop, when a request is made up. These have done that long
before; all that is left then is to write down who sends them. A test compares every byte with what aiokafka's builder
makes of the same records, and fails where a new version asks a batch for anything else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c
from cramjam import zstd

from streamer.kafka.compression import ZSTD_LEVEL

if TYPE_CHECKING:  # The kernel may not be there; who makes these batches has it.
    from streamer_kernel import Batch

HEADER_BYTES: Final = 61
"""Of a batch, before its records (KIP-98)."""

_CRC_AT: Final = 17
_ATTRIBUTES_AT: Final = 21
_PRODUCER_AT: Final = 43
_ZSTD: Final = 4
_TRANSACTIONAL: Final = 0x10


class BatchFormat(msgspec.Struct, frozen=True):
    """How a producer's batches are to be encoded; ``batch_bytes`` is their size before compression, with header."""

    batch_bytes: int
    zstd: bool
    transactional: bool


class _ReadyBatch:
    """What aiokafka asks of a batch that nothing can be added to any more."""

    _records: int
    _buffer: Any

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

    def _build(self) -> Any:
        """All bytes; asked for again when a request is sent again, and then the same."""
        return self._buffer


class BuiltBatch(_ReadyBatch):
    """A batch of aiokafka's own builder, built ahead of time. Takes a few ms for each MiB where it compresses."""

    def __init__(self, builder: BatchBuilder) -> None:
        self._records = builder.record_count()
        self._buffer = builder._build()

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        struct.pack_into(">qhi", self._buffer, _PRODUCER_AT, producer_id, producer_epoch, base_sequence)
        struct.pack_into(">I", self._buffer, _CRC_AT, calc_crc32c(memoryview(self._buffer)[_ATTRIBUTES_AT:]))


class KernelBatch(_ReadyBatch):
    """A batch that the kernel has encoded; ``timestamp`` of all its records, in milliseconds since 1970."""

    def __init__(self, batch: Batch, *, transactional: bool, timestamp: int) -> None:
        self._records = batch.records
        self._buffer: Batch = batch
        self._attributes = _TRANSACTIONAL if transactional else 0
        self._timestamp = timestamp
        self._sealed = False

    def compress(self) -> None:
        """Compress the records, unless that makes them larger. Takes a few ms for each MiB."""
        with memoryview(self._buffer) as whole:
            compressed = bytes(zstd.compress(whole[HEADER_BYTES:], level=ZSTD_LEVEL))
            is_no_larger = len(compressed) <= len(whole) - HEADER_BYTES
        if is_no_larger:
            self._buffer.replace_records(compressed)
            self._attributes |= _ZSTD

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._buffer.seal(self._attributes, self._timestamp, producer_id, producer_epoch, base_sequence)
        self._sealed = True

    def _build(self) -> Batch:
        if not self._sealed:
            self._set_producer_state(-1, -1, 0)  # what aiokafka's builder begins with
        return self._buffer


AnyBatch: TypeAlias = BatchBuilder | BuiltBatch | KernelBatch


def compressed(batches: Sequence[AnyBatch]) -> list[AnyBatch]:
    """The same batches, closed and compressed; takes long, so not on the event loop."""
    ready: list[AnyBatch] = []
    for batch in batches:
        if isinstance(batch, KernelBatch):
            batch.compress()
        ready.append(BuiltBatch(batch) if isinstance(batch, BatchBuilder) else batch)
    return ready
