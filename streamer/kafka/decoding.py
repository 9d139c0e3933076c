"""Record batches that were fetched in, what is compared of their records out: by the kernel, where it is installed.

What a newcomer would get wrong:

* Without the kernel everything works, and only costs more. Which way is taken is decided in ``decoder`` alone.
* The kernel reads a batch whole or not at all. What it is not sure of comes back to ``decoded_in_python``, so what is
  wrong with a batch is known in one place, and is raised from there.
* Which batches are committed is decided before any is decoded (``committed``), by aiokafka's own class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

import msgspec
import numpy as np
from aiokafka import TopicPartition
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from streamer.core.blocks import digest_of
from streamer.core.comparing import updated_of
from streamer.core.differences import Array, Facts, facts_of, microseconds
from streamer.kafka.encoded_batches import HEADER_BYTES
from streamer.kafka.kernel_blocks import HAS_KERNEL

if HAS_KERNEL:
    import streamer_kernel

SLICE_RECORDS: Final = 512
"""So many records at a time in Python, some 5 ms; the kernel takes batches until there are as many."""

_MOST_RECORDS: Final = 8 * SLICE_RECORDS
"""What the kernel has read of one large batch is put into the table in such pieces, some 10 ms each."""

_LENGTH: Final = slice(8, 12)
_MAGIC_AT: Final = 16
_MAGIC: Final = 2

_UNCOMPRESS: Final[Mapping[int, Callable[[bytes], bytes]]] = {
    0: bytes,
    1: gzip_decode,
    2: snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}


class Slice(msgspec.Struct):
    """Some records of a partition, in the order of their offsets; columns of equal length, without foreign records,
    but for those that make a key theirs.
    """

    keys: list[bytes]
    facts: Facts
    timestamps: Array
    """Microseconds since 1970."""
    tombstones: Array
    """True for records without a value."""
    foreign: int
    """How many records between these are of somebody else."""

    def pieces(self, most: int) -> Iterator[Slice]:
        """The same in slices of so many records at most; who is foreign is told with the first."""
        for start in range(0, max(1, len(self.keys)), most):
            part = slice(start, start + most)
            foreign = 0 if start else self.foreign
            yield Slice(self.keys[part], self.facts.at(part), self.timestamps[part], self.tombstones[part], foreign)


class Source(msgspec.Struct, frozen=True):
    """Whose records are read back.

    ``header`` is the value of ``ce_source``. ``or_none``: records without that header are ours too, which is so where
    records have no headers and nobody else writes to the topic. ``gives_way``: what somebody else has written later
    under a key of ours makes it theirs; it is read like a tombstone.
    """

    header: bytes
    or_none: bool = False
    gives_way: bool = False

    def has(self, headers: Sequence[tuple[str, bytes]]) -> bool:
        """Whether a record with these headers is ours."""
        if ("ce_source", self.header) in headers:
            return True
        return self.or_none and not any(name == "ce_source" for name, _ in headers)


class Batch:
    """A batch as it was fetched, of which records from an offset on count.

    It stands in for the records in it where aiokafka leaves out what isn't committed.
    """

    def __init__(self, raw: bytes, batch: Any, from_offset: int) -> None:
        self.raw = raw
        self.from_offset = from_offset
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    @property
    def offset(self) -> int:
        """Its last."""
        last: int = self.next_offset - 1
        return last

    def __iter__(self) -> Iterator[Batch]:
        yield self

    def __next__(self) -> Any:
        # A marker is looked into.
        return next(self._batch)

    def records(self) -> Iterator[Any]:
        """The records that count. Raises what aiokafka raises for a batch that can't be read."""
        return (record for record in self._batch if record.offset >= self.from_offset)


class _Batches:
    """What aiokafka takes records from, with the bytes of each batch."""

    def __init__(self, raw: bytes, from_offset: int) -> None:
        self._raw = raw
        self._from_offset = from_offset
        self._batches = MemoryRecords(raw)
        self._at = 0

    def has_next(self) -> bool:
        return bool(self._batches.has_next())

    def next_batch(self) -> Batch:
        head = self._raw[self._at : self._at + _LENGTH.stop]
        end = self._at + len(head) + int.from_bytes(head[_LENGTH])
        raw, self._at = self._raw[self._at : end], end
        return Batch(raw, self._batches.next_batch(), self._from_offset)


class _Committed(PartitionRecords):  # type: ignore[misc]
    """Whatever stands in for records, without an object of the consumer's around each."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Any:  # noqa: ARG002
        return record


def committed(place: TopicPartition, raw: bytes, aborted: Any, from_offset: int) -> Iterator[Batch]:
    """The batches in a broker's answer that are neither markers nor of an ``aborted`` transaction.

    Raises aiokafka's ``CorruptRecordException`` where a checksum is wrong.
    """
    batches = _Batches(raw, from_offset)
    kept = _Committed(place, batches, aborted, from_offset, None, None, True, READ_COMMITTED)
    return iter(kept)


def next_offset(raw: bytes, offset: int) -> int:
    """Where the next fetch begins: told by the heads of the batches, so before any is decoded."""
    batches = MemoryRecords(raw)
    while batches.has_next():
        offset = batches.next_batch().next_offset
    return offset


Decoder = Callable[[Iterable[Batch], Source], Iterator[Slice]]


def decoder(*, kernel: bool) -> Decoder:
    """What decodes batches: the kernel where it is installed and wanted."""
    return decoded_in_kernel if kernel and HAS_KERNEL else decoded_in_python


def decoded_in_python(batches: Iterable[Batch], source: Source) -> Iterator[Slice]:
    """What of the records in these batches counts. Raises what aiokafka raises for a batch that can't be read."""
    records = chain.from_iterable(batch.records() for batch in batches)
    while some := list(islice(records, SLICE_RECORDS)):
        yield slice_of(some, source)


def decoded_in_kernel(batches: Iterable[Batch], source: Source) -> Iterator[Slice]:
    """The same, in slices of other sizes."""
    read = streamer_kernel.ReadBack(
        source=source.header, or_none=source.or_none, gives_way=source.gives_way, updated=_updated
    )
    for batch in batches:
        if not _is_plain(batch) or not read.add(batch.raw, _uncompressed(batch), batch.from_offset):
            yield from _taken(read)
            yield from decoded_in_python((batch,), source)
        elif len(read) >= SLICE_RECORDS:
            yield from _taken(read)
    yield from _taken(read)


def _is_plain(batch: Batch) -> bool:
    return batch.raw[_MAGIC_AT] == _MAGIC and batch.compression_type in _UNCOMPRESS


def _uncompressed(batch: Batch) -> bytes:
    return _UNCOMPRESS[batch.compression_type](batch.raw[HEADER_BYTES:])


def _updated(value: bytes) -> int:
    (moment,) = microseconds([updated_of(value)]).tolist()
    return int(moment)


def _taken(read: streamer_kernel.ReadBack) -> Iterator[Slice]:
    keys, (digests, checks, values, updated), timestamps, tombstones, foreign = read.take()
    facts = Facts(
        np.frombuffer(digests, np.uint64),
        np.frombuffer(checks, np.uint32),
        np.frombuffer(values, np.uint64),
        np.frombuffer(updated, np.int64),
    )
    taken = Slice(keys, facts, np.frombuffer(timestamps, np.int64), np.frombuffer(tombstones, np.bool_), foreign)
    return taken.pieces(_MOST_RECORDS)


def slice_of(records: Sequence[Any], source: Source) -> Slice:
    """What of these records counts, from wherever they come."""
    own = [record.key is not None and source.has(record.headers) for record in records]
    kept = [
        (record, ours)
        for record, ours in zip(records, own, strict=True)
        if ours or (source.gives_way and record.key is not None)
    ]
    keys = [record.key for record, _ in kept]
    values = [record.value if ours else None for record, ours in kept]
    # aiokafka has None for a record without a time, where Kafka has -1.
    timestamps = [-1 if record.timestamp is None else record.timestamp for record, _ in kept]
    return Slice(
        keys=keys,
        facts=facts_of(
            keys,
            [digest_of(key, value or b"") for key, value in zip(keys, values, strict=True)],
            [None if value is None else updated_of(value) for value in values],
        ),
        timestamps=np.array(timestamps, dtype=np.int64) * 1000,
        tombstones=np.array([value is None for value in values], dtype=bool),
        foreign=len(records) - sum(own),
    )
