"""What ``Files`` promises, asked of the fake that the unit tests use and of the real downloads alike."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from streamer.errors import DownloadBrokenError, ExportLostError
from streamer.mews.client import file_session
from streamer.mews.downloads import Downloads
from streamer.model import ExportFile, Link
from streamer.service.reading import FileBody, Files
from tests.contract.file_host import FileHost
from tests.unit.service.memory_files import MemoryFiles

CONTENT = b"0123456789abcdef" * 3


class Stand:
    """One implementation, and what decides how its file behaves."""

    def __init__(self, files: Files, host: MemoryFiles | FileHost, link: str) -> None:
        self.files = files
        self.host = host
        self.file = ExportFile(Link(link), len(CONTENT))

    async def read(self, *, offset: int = 0, tail: bytes = b"", etag: str | None = None) -> tuple[bytes, int]:
        async with self.files.open(self.file, offset=offset, tail=tail, etag=etag) as body:
            return b"".join([chunk async for chunk in body]), body.position


@pytest.fixture(params=["memory", "http", "http without ranges"])
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    if request.param == "memory":
        memory = MemoryFiles(CONTENT)
        yield Stand(memory, memory, "https://blobs.test/e1-0.jsonl?sig=s")
        return
    host = FileHost(CONTENT)
    host.ranges = "kept" if request.param == "http" else "ignored"
    await host.start()
    async with file_session("0") as session:
        yield Stand(Downloads(session, clock=time.monotonic, allow_http=True), host, host.link())
    await host.close()


async def collect(body: FileBody, seen: bytearray) -> None:
    async for chunk in body:
        assert chunk
        seen += chunk


async def test_the_chunks_from_any_offset_add_up_to_the_rest(stand: Stand) -> None:
    for offset in range(len(CONTENT) + 1):
        assert await stand.read(offset=offset) == (CONTENT[offset:], len(CONTENT))


async def test_bytes_before_the_offset_that_agree_change_nothing(stand: Stand) -> None:
    for offset in range(len(CONTENT) + 1):
        tail = CONTENT[max(0, offset - 7) : offset]
        assert await stand.read(offset=offset, tail=tail) == (CONTENT[offset:], len(CONTENT))


async def test_bytes_before_the_offset_that_differ_lose_the_export(stand: Stand) -> None:
    for place in range(7):
        tail = bytearray(CONTENT[13:20])
        tail[place] ^= 1
        with pytest.raises(ExportLostError, match="file changed"):
            await stand.read(offset=20, tail=bytes(tail))


async def test_what_came_before_a_cut_is_handed_out_before_the_error(stand: Stand) -> None:
    for cut in range(1, len(CONTENT)):
        stand.host.cuts = [cut]
        seen = bytearray()
        async with stand.files.open(stand.file, offset=0) as body:
            with pytest.raises(DownloadBrokenError):
                await collect(body, seen)
        assert seen == CONTENT[:cut]
        assert body.position == cut


async def test_a_file_that_ends_before_the_offset_says_where(stand: Stand) -> None:
    stand.host.content = CONTENT[:10]
    assert await stand.read(offset=20) == (b"", 10)


async def test_the_etag_is_told_and_the_same_one_is_accepted(stand: Stand) -> None:
    stand.host.etag = '"v1"'
    async with stand.files.open(stand.file, offset=5) as body:
        assert body.etag == '"v1"'
    assert await stand.read(offset=5, etag='"v1"') == (CONTENT[5:], len(CONTENT))


@pytest.mark.parametrize("offset", [0, 5])
async def test_another_etag_loses_the_export(stand: Stand, offset: int) -> None:
    stand.host.etag = '"v2"'
    with pytest.raises(ExportLostError, match="file changed"):
        await stand.read(offset=offset, etag='"v1"')


async def test_a_host_that_stops_naming_versions_is_tolerated(stand: Stand) -> None:
    assert await stand.read(offset=5, etag='"v1"') == (CONTENT[5:], len(CONTENT))


async def test_an_empty_file_has_no_chunks(stand: Stand) -> None:
    stand.host.content = b""
    assert await stand.read() == (b"", 0)
