"""What is written in slices arrives whole and in order: over plain and encrypted connections, on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from streamer.kafka.flat_requests import Unjoined
from streamer.kafka.sliced_writing import SlicedWriter
from tests.authority import Authority

REQUESTS = [bytes([number]) * length for number, length in enumerate((7, 3_000_001, 5, 12_000_000, 524_288, 1))]
IN_PIECES = [[request[:9], bytearray(request[9:4_000]), request[4_000:]] for request in REQUESTS]


async def received(connect_with: Callable[[bool], ssl.SSLContext | None]) -> bytes:
    """All that a server gets which begins to read when the buffers on the way are full."""
    arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    read_on = asyncio.Event()

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_on.wait()
        arrived.set_result(await reader.read(-1))
        writer.close()

    server = await asyncio.start_server(read, "127.0.0.1", 0, ssl=connect_with(True))
    async with asyncio.timeout(60), server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=connect_with(False))
        sliced = SlicedWriter(writer)
        for request, pieces in zip(REQUESTS, IN_PIECES, strict=True):
            sliced.write(request)
            sliced.write(Unjoined(pieces))
        draining = asyncio.create_task(sliced.drain())
        for _ in range(200):
            await asyncio.sleep(0)
        # More than all buffers on the way hold.
        assert not draining.done()
        read_on.set()
        await draining
        sliced.close()
        return await arrived


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_all_of_it_arrives_in_order(
    tmp_path: Path, encrypted: bool, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    authority = Authority(tmp_path / "authority")
    certificate = authority.certificate("127.0.0.1", name="server")

    def context(of_server: bool) -> ssl.SSLContext | None:
        if not encrypted:
            return None
        if not of_server:
            return ssl.create_default_context(cafile=str(authority.ca_file))
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(certificate)
        return made

    with asyncio.Runner(loop_factory=new_loop) as runner:
        arrived = runner.run(received(context))

    assert arrived == b"".join(request * 2 for request in REQUESTS)
