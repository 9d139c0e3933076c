"""What each stage of publishing a record costs: nanoseconds of CPU time, each stage alone, the best of several rounds.

Alone a stage is somewhat cheaper than between the others, where it finds cold caches. The sum of the stages is
therefore less than what `benchmarks/throughput` measures, and tells where to look.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import aiohttp
import click
from xxhash import xxh3_64_intdigest

from benchmarks.loops import loop_factory
from streamer.core.blocks import Block, FileToGather
from streamer.core.lines import LineCutter
from streamer.core.partitioner import partition_of
from streamer.core.record_format import NO_HEADERS
from streamer.core.records import Origin, identify
from streamer.kafka.batches import RecordBatches
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.kernel_blocks import HAS_KERNEL, file_blocks
from streamer.kafka.sending import BATCH_BYTES
from streamer.kafka.sliced_writing import SlicedWriter
from streamer.model import ConnectionName, EntityType, ExportId, StreamKey
from streamer.service.allocator import keep_large_buffers

EXPORT = ExportId("3f2b8a1e-5a6f-4b56-8fd5-2c1a1b2c3d4e")
STREAM = StreamKey(ConnectionName("benchmark"), EntityType.RESERVATION)
DATA_BYTES = 16_000_000
CHUNK_BYTES = 256 * 1024
WORDS = ("grand", "plaza", "harbour", "view", "court", "royal", "garden", "central", "old", "town", "sea", "lodge")

Stage = Callable[[], object]


def lines_of(length: int, *, seed: int) -> list[bytes]:
    """Lifelike lines of that length in bytes, without line ending."""
    dice = random.Random(seed)

    def line() -> bytes:
        entity = {
            "Id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "ServiceId": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "State": dice.choice(["Confirmed", "Started", "Processed", "Canceled"]),
            "CreatedUtc": f"2026-0{dice.randint(1, 9)}-1{dice.randint(0, 9)}T10:{dice.randint(10, 59)}:00Z",
            "Number": dice.randint(1, 10**6),
            "Amount": {"Currency": "EUR", "Net": round(dice.uniform(1, 900), 2), "IsGross": dice.random() < 0.5},
            "CancelledUtc": None,
            "Notes": "",
        }
        room = length - len(json.dumps(entity, separators=(",", ":")))
        entity["Notes"] = " ".join(dice.choices(WORDS, k=length))[:room]
        return json.dumps(entity, separators=(",", ":")).encode()

    return [line() for _ in range(DATA_BYTES // length)]


def stages(lines: list[bytes], *, partitions: int, headers: bool) -> Iterator[tuple[str, Stage, Stage]]:
    """Each stage by name, with what has to be done before it each time, uncounted."""
    data = b"".join(line + b"\n" for line in lines)
    chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    yield "read (aiohttp)", lambda: _over_loopback(_serve(data), _read), _nothing
    yield from _in_python(lines, chunks, partitions=partitions, headers=headers)
    gather = partial(_gathered, chunks, partitions=partitions, headers=headers)
    yield "all of that in Python, but the read", partial(gather, kernel=False), _nothing
    if HAS_KERNEL:
        yield "the same in the kernel", partial(gather, kernel=True), _nothing
    yield from _checksums(gather)
    yield "send (loopback)", lambda: _over_loopback(_swallow, partial(_send, data)), _nothing


def _nothing() -> None: ...


def _batches() -> RecordBatches:
    form = BatchFormat(batch_bytes=BATCH_BYTES, zstd=False, transactional=True)
    return RecordBatches(timestamp=1, format=form)


def _in_python(
    lines: list[bytes], chunks: list[bytes], *, partitions: int, headers: bool
) -> Iterator[tuple[str, Stage, Stage]]:
    origin = Origin(export_id=EXPORT, stream=STREAM, file_index=0, headers=headers, max_record_bytes=1_048_588)
    keys = [identify(line).id.encode() for line in lines]
    pairs = list(zip(keys, lines, strict=True))

    def split() -> None:
        cutter = LineCutter(offset=0, line=0, max_line_bytes=1_000_000)
        for chunk in chunks:
            cutter.feed(chunk)

    def append() -> None:
        append = _batches().append
        for number, (key, line) in enumerate(pairs):
            append(number % partitions, key, line, NO_HEADERS)

    yield "split", split, _nothing
    yield "key, and is it JSON", lambda: [identify(line).id.encode() for line in lines], _nothing
    yield "partition", lambda: [partition_of(key, partitions) for key in keys], _nothing
    yield "digest", lambda: [xxh3_64_intdigest(key + b"\0" + line) for key, line in pairs], _nothing
    yield "headers", lambda: [origin.encoded_headers(at) for at in range(len(lines))], _nothing
    yield "append, without headers", append, _nothing


def _gathered(chunks: list[bytes], *, partitions: int, headers: bool, kernel: bool) -> Block[RecordBatches]:
    file = FileToGather(
        export_id=EXPORT,
        stream=STREAM,
        index=0,
        partitions=partitions,
        max_line_bytes=1_000_000,
        max_record_bytes=1_048_588,
        headers=headers,
    )
    blocks = file_blocks(file, _batches, kernel=kernel)
    for chunk in chunks:
        blocks.feed(chunk)
    return blocks.take()


def _checksums(gather: Callable[..., Block[RecordBatches]]) -> Iterator[tuple[str, Stage, Stage]]:
    held: list[Block[RecordBatches]] = []

    def renew(kernel: bool) -> None:
        held[:] = [gather(kernel=kernel)]

    def build() -> None:
        for batches in held[0].batches.close().values():
            for batch in batches:
                batch._set_producer_state(1, 1, 1)
                batch._build()

    yield "checksum (google-crc32c)", build, partial(renew, False)
    if HAS_KERNEL:
        yield "checksum (kernel)", build, partial(renew, True)


def _over_loopback(child: Callable[[socket.socket], None], talk: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """``talk`` to a port behind which a process of its own, whose time does not count, does nothing but ``child``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = os.fork()
        if not process:
            connection, _ = server.accept()
            child(connection)
            os._exit(0)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(talk(server.getsockname()[1]))
        os.waitpid(process, 0)


def _serve(data: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)

    return serve


async def _read(port: int) -> None:
    async with (
        aiohttp.ClientSession(read_bufsize=CHUNK_BYTES) as session,
        session.get(f"http://127.0.0.1:{port}/") as answer,
    ):
        while await answer.content.readany():
            pass


def _swallow(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass


async def _send(data: bytes, port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    sliced = SlicedWriter(writer)
    sliced.write(data)
    await sliced.drain()
    writer.close()
    await writer.wait_closed()


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), default=5)
@click.option("--line-bytes", type=click.IntRange(330), multiple=True, default=(430, 1410))
@click.option("--partitions", type=click.IntRange(1), default=12)
@click.option("--headers/--no-headers", default=True)
def main(rounds: int, line_bytes: tuple[int, ...], partitions: int, headers: bool) -> None:
    """Print a table of what each stage costs, in nanoseconds of CPU time a record."""
    keep_large_buffers()
    columns: dict[str, dict[int, float]] = {}
    for length in line_bytes:
        lines = lines_of(length, seed=7)
        for name, stage, prepare in stages(lines, partitions=partitions, headers=headers):
            for _ in range(rounds):
                prepare()
                began = time.process_time()
                stage()
                spent = (time.process_time() - began) / len(lines) * 1e9
                column = columns.setdefault(name, {})
                column[length] = min(spent, column.get(length, spent))
    click.echo("| stage | " + " | ".join(f"{length:,} B" for length in line_bytes) + " |")
    click.echo("| --- |" + " ---: |" * len(line_bytes))
    for name, column in columns.items():
        click.echo(f"| {name} | " + " | ".join(f"{column[length]:,.0f}" for length in line_bytes) + " |")


if __name__ == "__main__":
    main()
