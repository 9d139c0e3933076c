"""The records of a block, encoded as they are gathered: outside any transaction, so nothing is held up by it.

A batch becomes part of a transaction when the producer takes it and stamps it with its id and sequence number; until
then it only holds bytes.

What a newcomer would get wrong:

* ``append`` is, with the loop over the lines that calls it, what a record costs in Python. The pieces of some dozens of
  records are joined at once. To join each alone costs more; to wait for the end of the batch keeps so many lines in
  memory that a record of 430 B costs a sixth more (measured).
* A batch is closed by the rule that aiokafka's builder and the kernel have, so that all three make the same of the
  same records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from streamer.core.record_format import NULL, VARINTS, EncodedHeaders, varint
from streamer.kafka.encoded_batches import HEADER_BYTES, AnyBatch, BatchFormat, KernelBatch, PythonBatch

if TYPE_CHECKING:  # It may not be there.
    from streamer_kernel import Batch

_SHORT: Final = len(VARINTS)
_NUMBERED: Final = tuple(b"\0\0" + number for number in VARINTS)
"""Of a record, behind its length: attributes, no distance from the batch's timestamp, its number in the batch."""

_JOINED_RECORDS: Final = 64
"""So many records are joined at once."""


class _OpenBatch:
    """Records as they are encoded: how many, joined some dozens at a time, and how many bytes more make it full."""

    __slots__ = ("joined", "pieces", "records", "room")

    def __init__(self, room: int) -> None:
        self.joined: list[bytes] = []
        self.pieces: list[bytes] = []
        self.records = 0
        self.room = room

    def join(self) -> None:
        self.joined.append(b"".join(self.pieces))
        self.pieces.clear()


class RecordBatches:
    """Records of one topic, as full batches by partition, in the order in which they were appended.

    ``timestamp`` is that of all records, in milliseconds since 1970. A batch never exceeds the size that ``format``
    has, but for a single record that is larger alone.
    """

    def __init__(self, *, timestamp: int, format: BatchFormat) -> None:
        self.format = format
        self._timestamp = timestamp
        self._open: dict[int, _OpenBatch] = {}
        self._batches: dict[int, list[AnyBatch]] = {}
        self._is_compressed = False

    def append(self, partition: int, key: bytes, value: bytes | None, headers: EncodedHeaders) -> None:
        """Encode one record. The batch that is full is closed, and a new one begun."""
        batch = self._open.get(partition)
        if batch is None:
            batch = self._open[partition] = _OpenBatch(self.format.batch_bytes - HEADER_BYTES)
        number, key_bytes = batch.records, len(key)
        # `varint`, written out: a call costs more than looking up.
        front = _NUMBERED[number] if number < _SHORT else b"\0\0" + varint(number)
        front += (VARINTS[key_bytes] if key_bytes < _SHORT else varint(key_bytes)) + key
        if value is None:
            value_bytes = 0
            front += NULL
        else:
            value_bytes = len(value)
            front += VARINTS[value_bytes] if value_bytes < _SHORT else varint(value_bytes)
        body = len(front) + value_bytes + len(headers)
        front = (VARINTS[body] if body < _SHORT else varint(body)) + front
        room = batch.room - len(front) - value_bytes - len(headers)
        if room > 0 or not number:
            batch.room = room
            batch.records = number + 1
            batch.pieces += (front, value or b"", headers)
            if not batch.records % _JOINED_RECORDS:
                batch.join()
        else:
            self._close(partition)
            self.append(partition, key, value, headers)

    def add(self, partition: int, batches: Sequence[Batch]) -> None:
        """Take over batches of the kernel, behind what there is of the partition."""
        self._close(partition)
        self._batches.setdefault(partition, []).extend(
            KernelBatch(batch, transactional=self.format.transactional, timestamp=self._timestamp) for batch in batches
        )

    async def prepare(self) -> None:
        """Have all of it ready to be sent, compressed in a thread: on the event loop it would hold up everybody.

        Nothing may be appended afterwards. Harmless when called again.
        """
        if self.format.zstd and not self._is_compressed:
            await asyncio.to_thread(self.compress)
        for partition in list(self._open):
            self._close(partition)
            # Joining all in one go would hold up the loop as well, for some milliseconds.
            await asyncio.sleep(0)

    def compress(self) -> None:
        """Close and compress what there is: a few ms for each MiB."""
        if not self._is_compressed:
            self._is_compressed = True
            for batches in self.close().values():
                for batch in batches:
                    batch.compress()

    def close(self) -> Mapping[int, list[AnyBatch]]:
        """The batches by partition, closed.

        Whoever takes them out has them: a block's memory is free again as it is sent.
        """
        for partition in list(self._open):
            self._close(partition)
        return self._batches

    def _close(self, partition: int) -> None:
        if batch := self._open.pop(partition, None):
            batch.join()
            closed = PythonBatch(
                batch.joined,
                batch.records,
                transactional=self.format.transactional,
                timestamp=self._timestamp,
            )
            self._batches.setdefault(partition, []).append(closed)
