"""The one seam to aiokafka's record batches: records are encoded here as a block is gathered.

Encoding happens outside any transaction. A batch becomes part of one when the producer takes it and stamps it with
its id and sequence number; until then it only holds bytes, so gathering needs no lock and holds nothing up.

Measured on one core: ``create_batch``/``append`` takes about a sixth of the time of ``send`` per record, which looks
for the partition, makes a future and takes a timestamp for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from aiokafka.producer.message_accumulator import BatchBuilder

from streamer.kafka.encoded_batches import AnyBatch, BatchFormat, KernelBatch, compressed

if TYPE_CHECKING:  # It may not be there.
    from streamer_kernel import Batch


class RecordBatches:
    """Records of one topic, as full batches by partition, in the order in which they were appended.

    ``timestamp`` is that of all records, in milliseconds since 1970. A batch never exceeds the size that its builder
    was made with, but for a single record that is larger alone.
    """

    def __init__(self, new_builder: Callable[[], BatchBuilder], *, timestamp: int, format: BatchFormat) -> None:
        self.format = format
        self._new_builder = new_builder
        self._timestamp = timestamp
        self._open: dict[int, BatchBuilder] = {}
        self._batches: dict[int, list[AnyBatch]] = {}
        self._is_compressed = False

    def append(self, partition: int, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        """Encode one record. The batch that is full is closed, and a new one begun."""
        builder = self._open.get(partition)
        if builder is None or builder.append(timestamp=self._timestamp, key=key, value=value, headers=headers) is None:
            self._begin(partition).append(timestamp=self._timestamp, key=key, value=value, headers=headers)

    def add(self, partition: int, batches: Sequence[Batch]) -> None:
        """Take over batches of the kernel, behind what there is of the partition."""
        if builder := self._open.pop(partition, None):
            builder.close()
        self._batches.setdefault(partition, []).extend(
            KernelBatch(batch, transactional=self.format.transactional, timestamp=self._timestamp) for batch in batches
        )

    async def prepare(self) -> None:
        """Have all of it ready to be sent, compressed in a thread: on the event loop it would hold up everybody.

        Nothing may be appended afterwards. Harmless when called again.
        """
        if self.format.zstd and not self._is_compressed:
            await asyncio.to_thread(self.compress)

    def compress(self) -> None:
        """Close and compress what there is: a few ms for each MiB."""
        self.close()
        self._batches = {partition: compressed(batches) for partition, batches in self._batches.items()}
        self._is_compressed = True

    def _begin(self, partition: int) -> BatchBuilder:
        builder = self._open[partition] = self._new_builder()
        self._batches.setdefault(partition, []).append(builder)
        return builder

    def close(self) -> Mapping[int, list[AnyBatch]]:
        """The batches by partition, closed: an open one could be given records of somebody else, and would linger.

        Whoever takes them out has them: a block's memory is free again as it is sent.
        """
        for builder in self._open.values():
            builder.close()
        self._open.clear()
        return self._batches
