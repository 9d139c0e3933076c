"""Large requests go out in slices, in order, and others get a turn in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamer.kafka.flat_requests import Unjoined
from streamer.kafka.sliced_writing import SLICE_BYTES, SlicedWriter

LARGE = bytes(range(256)) * (3 * SLICE_BYTES // 256) + b"the rest"


class Wire(asyncio.Transport):
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.taken.append(bytes(data))

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


class Line:
    """A writer on a wire, and what tells it how the wire is."""

    def __init__(self) -> None:
        reader = asyncio.StreamReader()
        self.wire = Wire()
        self.protocol = asyncio.StreamReaderProtocol(reader)
        self.protocol.connection_made(self.wire)
        loop = asyncio.get_running_loop()
        self.complaints: list[Any] = []
        loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.writer = SlicedWriter(asyncio.StreamWriter(self.wire, self.protocol, reader, loop))

    @property
    def taken(self) -> bytes:
        return b"".join(self.wire.taken)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line()
    yield line
    line.writer.close()
    await turns()
    assert line.complaints == []


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_small_request_is_written_at_once(line: Line) -> None:
    line.writer.write(b"small")
    line.writer.write(Unjoined([b"in ", bytearray(b"pieces")]))

    assert line.wire.taken == [b"small", b"in pieces"]


async def test_a_large_one_is_written_in_slices_and_others_get_a_turn_before_each(line: Line) -> None:
    seen: list[int] = []

    line.writer.write(Unjoined([b"size", LARGE]))
    while len(line.taken) < len(LARGE) + 4:
        seen.append(len(line.taken))
        await asyncio.sleep(0)

    assert line.taken == b"size" + LARGE
    assert [len(written) for written in line.wire.taken] == [SLICE_BYTES] * 3 + [12]
    assert sorted(set(seen)) == [0, SLICE_BYTES, 2 * SLICE_BYTES, 3 * SLICE_BYTES]


async def test_what_is_written_behind_a_large_one_stays_behind_it(line: Line) -> None:
    line.writer.write(LARGE)
    line.writer.write(b"small")
    line.writer.write(Unjoined([LARGE]))
    await line.writer.drain()
    line.writer.write(b"last")

    assert line.taken == LARGE + b"small" + LARGE + b"last"


async def test_what_the_socket_does_not_take_holds_up_the_rest(line: Line) -> None:
    line.protocol.pause_writing()

    line.writer.write(LARGE)
    draining = asyncio.create_task(line.writer.drain())
    await turns()
    assert len(line.taken) == SLICE_BYTES
    assert not draining.done()

    line.protocol.resume_writing()
    await draining
    assert line.taken == LARGE


async def test_closing_gives_up_what_waits(line: Line) -> None:
    line.protocol.pause_writing()
    line.writer.write(LARGE)
    await turns()

    line.writer.close()
    await turns()

    # The socket may never take anything again.
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert line.wire.is_closed
    assert len(line.taken) == SLICE_BYTES


@pytest.mark.parametrize("reason", [None, ConnectionResetError("reset")])
async def test_a_connection_that_is_lost_meanwhile_ends_it_without_a_word(line: Line, reason: Exception | None) -> None:
    line.protocol.pause_writing()
    line.writer.write(LARGE)
    await turns()

    line.wire.close()
    line.protocol.connection_lost(reason)
    await turns()
    line.writer.write(LARGE)
    await turns()

    assert len(line.taken) == SLICE_BYTES


@pytest.mark.parametrize(
    "lengths", [[], [0], [1], [9], [10], [11], [4, 6], [4, 7], [10, 10], [25], [0, 3, 0, 30, 0], [1] * 21, [9, 2, 9]]
)
def test_slices_are_all_of_one_size_but_the_last(lengths: list[int]) -> None:
    pieces = [bytes([number]) * length for number, length in enumerate(lengths)]

    slices = [b"".join(taken) for taken in Unjoined(pieces).slices(10)]

    assert b"".join(slices) == b"".join(pieces)
    assert all(len(taken) == 10 for taken in slices[:-1])
    assert all(1 <= len(taken) <= 10 for taken in slices)
