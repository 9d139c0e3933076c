"""What the reconciliation benchmark measures, in a process of its own: read back, compare, count what is gone.

Arguments: the broker, how many entities, and whether the kernel decodes (`auto` or `off`). Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

from benchmarks.loops import loop_factory
from benchmarks.reconcile_lines import PARTITIONS, STREAM, TOPIC, chunks_of, file_of
from streamer.config import KafkaConfig
from streamer.core.comparing import Comparison
from streamer.core.differences import EVER, Table
from streamer.kafka.batches import RecordBatches
from streamer.kafka.decoding import Source
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.kernel_blocks import file_blocks
from streamer.kafka.reading_back import TopicReader
from streamer.kafka.sending import BATCH_BYTES
from streamer.service.collector import leave_aside_what_lasts
from streamer.service.reconciling import take_back

_TICK_SECONDS = 0.001


def no_batches() -> RecordBatches:
    """What stays empty: all lines are repeats."""
    form = BatchFormat(batch_bytes=BATCH_BYTES, zstd=False, transactional=True)
    return RecordBatches(timestamp=1, format=form)


class Lateness:
    """The longest time for which the loop ran nothing that was due, in seconds, while in its context.

    Of wall time, in which the machine may have done something else, and of the loop's own processor time.
    """

    def __init__(self) -> None:
        self.longest = self.longest_busy = 0.0

    async def __aenter__(self) -> Lateness:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticking.cancel()

    async def _tick(self) -> None:
        while True:
            before, before_busy = time.perf_counter(), time.thread_time()
            await asyncio.sleep(_TICK_SECONDS)
            self.longest = max(self.longest, time.perf_counter() - before - _TICK_SECONDS)
            self.longest_busy = max(self.longest_busy, time.thread_time() - before_busy)


async def read_back(bootstrap_servers: str, table: Table, *, kernel: bool) -> tuple[int, Lateness]:
    """Fill the table; how many records there were, and how long the loop was kept."""
    records = 0
    config = KafkaConfig(bootstrap_servers=(bootstrap_servers,))
    async with TopicReader(config, kernel=kernel) as reader, Lateness() as late:
        ends = await reader.ends(TOPIC, PARTITIONS)
        for partition in range(PARTITIONS):
            async for some in reader.slices(TOPIC, partition, ends[partition], Source(STREAM.source.encode())):
                records += len(some.keys)
                take_back(table, partition, some)
    return records, late


def compare(table: Table, entities: int) -> tuple[int, float, float, float]:
    """Compare all lines; how many were repeats, seconds of wall and processor time, and the longest step."""
    comparison = Comparison(table, first=0, end=PARTITIONS)
    blocks = file_blocks(file_of(), no_batches, comparison=comparison, kernel=True)
    wall = processor = longest = 0.0
    unchanged = 0
    for chunk in chunks_of(0, entities):
        began, began_processor = time.perf_counter(), time.process_time()
        blocks.feed(chunk)
        block = blocks.take()
        longest = max(longest, time.perf_counter() - began)
        wall += time.perf_counter() - began
        processor += time.process_time() - began_processor
        unchanged += block.unchanged
    return unchanged, wall, processor, longest


def main() -> None:
    bootstrap_servers, entities, kernel = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "auto"
    # As the daemon does.
    leave_aside_what_lasts()
    table = Table()
    began, began_processor = time.perf_counter(), time.process_time()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        records, late = runner.run(read_back(bootstrap_servers, table, kernel=kernel))
    read_wall, read_processor = time.perf_counter() - began, time.process_time() - began_processor
    unchanged, wall, processor, longest = compare(table, entities)
    print(
        json.dumps(
            {
                "entities": len(table),
                "records": records,
                "read_seconds": read_wall,
                "read_cpu_seconds": read_processor,
                "longest_read_ms": late.longest * 1000,
                "longest_busy_read_ms": late.longest_busy * 1000,
                "unchanged": unchanged,
                "gone": table.gone_before(EVER),
                "compare_seconds": wall,
                "compare_cpu_seconds": processor,
                "longest_compare_ms": longest * 1000,
                "table_bytes": table.size,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
