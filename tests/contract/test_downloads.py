from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from streamer.core.backoff import BackoffPolicy
from streamer.errors import (
    AccessRefusedError,
    DownloadBrokenError,
    ExportLostError,
    LinkRefusedError,
    RetriableError,
)
from streamer.mews.client import file_session
from streamer.mews.downloads import Downloads
from streamer.model import Export, ExportFile, ExportId, ExportStatus, Link
from streamer.service.reading import FileReader
from tests.contract.file_host import SIGNATURE, FileHost
from tests.unit.mews.virtual_clock import VirtualClock

CONTENT = b"".join(b'{"Id":"%d","Name":"\xc3\xa9"}\n' % n for n in range(200))


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    host = FileHost(CONTENT)
    await host.start()
    yield host
    await host.close()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with file_session("1.2.3", stall_seconds=0.1) as session:
        yield session


@pytest.fixture
def downloads(session: ClientSession) -> Downloads:
    return Downloads(session, clock=time.monotonic, allow_http=True)


def the_file(link: str) -> ExportFile:
    return ExportFile(Link(link), len(CONTENT))


async def read(
    downloads: Downloads, link: str, *, offset: int = 0, tail: bytes = b"", etag: str | None = None
) -> bytes:
    async with downloads.open(the_file(link), offset=offset, tail=tail, etag=etag) as body:
        return b"".join([chunk async for chunk in body])


async def test_the_link_goes_out_exactly_as_it_came(downloads: Downloads, host: FileHost) -> None:
    await read(downloads, host.link("a%2Fb%20(1)-0.jsonl"))
    assert host.asked[0].target == f"/files/a%2Fb%20(1)-0.jsonl?{SIGNATURE}"


async def test_a_whole_file_is_asked_for_plainly_and_without_credentials(downloads: Downloads, host: FileHost) -> None:
    assert await read(downloads, host.link()) == CONTENT
    headers = host.asked[0].headers
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}
    assert headers["User-Agent"] == "streamer/1.2.3"
    assert headers["Accept-Encoding"] == "identity"


async def test_the_rest_is_asked_for_by_range_from_the_first_byte_of_the_tail(
    downloads: Downloads, host: FileHost
) -> None:
    host.etag = '"v1"'
    rest = await read(downloads, host.link(), offset=100, tail=CONTENT[90:100], etag='"v1"')
    assert rest == CONTENT[100:]
    assert host.asked[0].headers["Range"] == "bytes=90-"
    assert host.asked[0].headers["If-Range"] == '"v1"'


@pytest.mark.parametrize("offset", range(0, 60, 7))
@pytest.mark.parametrize("ranges", ["shifted", "unnamed", "refused"])
async def test_a_range_that_can_not_be_trusted_is_read_and_dropped_instead(
    downloads: Downloads, host: FileHost, offset: int, ranges: str
) -> None:
    host.ranges = ranges  # type: ignore[assignment]
    tail = CONTENT[max(0, offset - 5) : offset]
    assert await read(downloads, host.link(), offset=offset, tail=tail) == CONTENT[offset:]


async def test_a_weak_etag_vouches_for_nothing(downloads: Downloads, host: FileHost) -> None:
    host.etag = 'W/"v1"'
    async with downloads.open(the_file(host.link()), offset=0) as body:
        assert body.etag is None


@pytest.mark.parametrize("encoding", ["gzip", "X-GZIP", "deflate"])
@pytest.mark.parametrize("ranges", ["kept", "ignored"])
async def test_an_encoding_nobody_asked_for_is_undone_and_offsets_count_decoded_bytes(
    downloads: Downloads, host: FileHost, encoding: str, ranges: str
) -> None:
    host.ranges = ranges  # type: ignore[assignment]
    host.encoding = encoding
    host.encoded = zlib.compress(CONTENT) if encoding == "deflate" else gzip.compress(CONTENT)
    for offset in (0, 1, 2000, len(CONTENT)):
        tail = CONTENT[max(0, offset - 50) : offset]
        assert await read(downloads, host.link(), offset=offset, tail=tail) == CONTENT[offset:]


async def test_the_etag_of_an_encoded_body_is_not_that_of_the_file(downloads: Downloads, host: FileHost) -> None:
    host.encoding, host.encoded, host.etag = "gzip", gzip.compress(CONTENT), '"v1-gzip"'
    assert await read(downloads, host.link(), etag='"v1"') == CONTENT


async def test_an_encoded_body_that_is_a_thousand_times_its_size_comes_in_pieces(
    downloads: Downloads, host: FileHost
) -> None:
    host.encoding, host.encoded = "gzip", gzip.compress(bytes(50_000_000))
    longest, total = 0, 0
    async with downloads.open(the_file(host.link()), offset=0) as body:
        async for chunk in body:
            longest, total = max(longest, len(chunk)), total + len(chunk)
    assert total == 50_000_000
    assert longest <= 256 * 1024


async def test_an_encoded_body_cut_short_is_broken_even_where_http_is_content(
    downloads: Downloads, host: FileHost
) -> None:
    encoded = gzip.compress(CONTENT)
    host.encoding = "gzip"
    for end in range(1, len(encoded)):
        host.encoded = encoded[:end]
        with pytest.raises(DownloadBrokenError):
            await read(downloads, host.link())


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip"])
async def test_an_encoding_that_can_not_be_undone_is_broken(
    downloads: Downloads, host: FileHost, encoding: str
) -> None:
    host.encoding, host.encoded = encoding, b"neither"
    with pytest.raises(DownloadBrokenError):
        await read(downloads, host.link())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_a_refused_link_says_so(downloads: Downloads, host: FileHost, status: int) -> None:
    host.statuses = [status]
    with pytest.raises(LinkRefusedError, match=rf"^e1-0\.jsonl: .*{status}"):
        await read(downloads, host.link())


@pytest.mark.parametrize("status", [204, 206, 304, 408, 416, 429, 500, 502, 503])
async def test_an_answer_without_the_file_is_worth_another_attempt(
    downloads: Downloads, host: FileHost, status: int
) -> None:
    host.statuses = [status] * 2
    with pytest.raises(DownloadBrokenError):
        await read(downloads, host.link())


@pytest.mark.parametrize("status", [429, 503])
async def test_the_hosts_wish_to_wait_is_kept(downloads: Downloads, host: FileHost, status: int) -> None:
    host.statuses, host.headers_of_status = [status], {"Retry-After": "23"}
    with pytest.raises(DownloadBrokenError) as caught:
        await read(downloads, host.link())
    assert caught.value.retry_after == 23


async def test_a_stall_is_given_up_and_what_came_before_is_kept(downloads: Downloads, host: FileHost) -> None:
    host.stall_at = 40
    async with downloads.open(the_file(host.link()), offset=0) as body:
        assert await anext(body) == CONTENT[:40]
        with pytest.raises(DownloadBrokenError, match="no answer in time"):
            await anext(body)


@pytest.mark.parametrize("busy", [False, True], ids=["waited for", "while the reader is busy"])
async def test_framing_that_makes_no_sense_breaks_a_download(host: FileHost, busy: bool) -> None:
    host.framing, host.garbled_at = "chunked", 40
    # Who comes later is told at once, who waits for it after the time of a stall.
    session = file_session("1.2.3", stall_seconds=60 if busy else 0.1)
    downloads = Downloads(session, clock=time.monotonic, allow_http=True)
    async with session, asyncio.timeout(10), downloads.open(the_file(host.link()), offset=0) as body:
        assert await anext(body) == CONTENT[:40]
        reading = None if busy else asyncio.create_task(anext(body))
        host.garbling.set()
        await host.sent.wait()
        for _ in range(1000):  # turns of the loop, so that it arrives here too
            await asyncio.sleep(0)
        with pytest.raises(DownloadBrokenError):
            await (anext(body) if reading is None else reading)


async def test_a_slow_reader_gets_what_had_come_before_the_connection_broke(
    downloads: Downloads, host: FileHost
) -> None:
    host.cuts = [1000]
    async with downloads.open(the_file(host.link()), offset=0) as body:
        await host.sent.wait()
        for _ in range(1000):  # turns of the loop, so that the break arrives here too
            await asyncio.sleep(0)
        assert await anext(body) == CONTENT[:1000]
        with pytest.raises(DownloadBrokenError):
            await anext(body)


async def test_an_unreachable_host_is_worth_another_attempt(downloads: Downloads, unused_tcp_port: int) -> None:
    with pytest.raises(DownloadBrokenError, match="no connection"):
        await read(downloads, f"http://127.0.0.1:{unused_tcp_port}/f?{SIGNATURE}")


@pytest.mark.parametrize("location", ["/files/moved.jsonl?x=%2F", "moved.jsonl?x=%2F"])
async def test_a_redirect_is_followed_unaltered(downloads: Downloads, host: FileHost, location: str) -> None:
    host.statuses, host.headers_of_status = [307], {"Location": location}
    assert await read(downloads, host.link(), offset=10) == CONTENT[10:]
    assert host.asked[1].target == "/files/moved.jsonl?x=%2F"
    assert host.asked[1].headers["Range"] == "bytes=10-"


async def test_redirects_without_end_are_given_up(downloads: Downloads, host: FileHost) -> None:
    host.statuses, host.headers_of_status = [302] * 20, {"Location": "/again"}
    with pytest.raises(DownloadBrokenError, match="redirects"):
        await read(downloads, host.link())
    assert len(host.asked) == 6


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
async def test_a_scheme_other_than_https_is_not_asked(session: ClientSession, host: FileHost, scheme: str) -> None:
    strict = Downloads(session, clock=time.monotonic)
    with pytest.raises(AccessRefusedError):
        await read(strict, host.link().replace("http", scheme, 1))
    assert host.asked == []


async def test_a_redirect_to_another_scheme_is_not_followed(downloads: Downloads, host: FileHost) -> None:
    host.statuses, host.headers_of_status = [302], {"Location": "ftp://127.0.0.1/f"}
    with pytest.raises(AccessRefusedError):
        await read(downloads, host.link())


@pytest.mark.parametrize(
    "link",
    [
        f"http:///f?{SIGNATURE}",
        f"http://host:port/f?{SIGNATURE}",
        f"http://127.0.0.1:1/f?{SIGNATURE}",
        f"http://[/f?{SIGNATURE}",
        f"http://{'x' * 70}.test/f?{SIGNATURE}",
        f"http://127.0.0.1:1/f ?{SIGNATURE}\r\nX: y",
        f"nothing?{SIGNATURE}",
    ],
)
async def test_no_error_quotes_a_signature(downloads: Downloads, link: str) -> None:
    with pytest.raises((RetriableError, AccessRefusedError)) as caught:
        await read(downloads, link)
    error: BaseException | None = caught.value
    while error is not None:
        assert "sig" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


async def test_no_log_quotes_a_signature(
    downloads: Downloads, host: FileHost, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.get_running_loop().set_debug(True)
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        for status in (200, 302, 403, 416, 503):
            host.statuses, host.headers_of_status = [status], {"Location": f"/again?{SIGNATURE}"}
            host.cuts = [10]
            with suppress(RetriableError):
                await read(downloads, host.link(), offset=100)
        with suppress(RetriableError):
            await read(downloads, host.link())
        gc.collect()
    told = [repr(log) for log in logs] + [
        record.getMessage()
        for record in caplog.records
        if record.name != "aiohttp.access"  # the host's own
    ]
    assert told
    assert not [text for text in told if "sig" in text]


async def test_a_link_can_not_smuggle_a_header(downloads: Downloads, host: FileHost) -> None:
    with pytest.raises(DownloadBrokenError, match="no valid URL"):
        await read(downloads, host.link() + "\r\nX: y")
    assert host.asked == []


async def test_what_the_caller_raises_is_left_alone(downloads: Downloads, host: FileHost) -> None:
    with pytest.raises(TimeoutError):
        async with downloads.open(the_file(host.link()), offset=0):
            raise TimeoutError


class SameLinks:
    def __init__(self, export: Export) -> None:
        self.export = export

    async def fetch(self, export_id: ExportId) -> Export | None:
        return self.export


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("ranges", ["kept", "ignored", "shifted", "unnamed"])
async def test_a_file_is_read_once_and_whole_however_often_the_connection_breaks(
    downloads: Downloads, host: FileHost, framing: str, ranges: str
) -> None:
    host.framing = framing  # type: ignore[assignment]
    host.ranges = ranges  # type: ignore[assignment]
    host.content = CONTENT[:50]
    clock = VirtualClock()
    export = Export(ExportId("e1"), ExportStatus.SUCCESS, (ExportFile(Link(host.link()), 50),))
    reader = FileReader(
        links=SameLinks(export),
        files=downloads,
        clock=clock,
        sleep=clock.sleep,
        random=lambda: 0.0,
        backoff=BackoffPolicy(),
        tail_bytes=8,
    )
    for cut in range(51):
        host.cuts = [cut, 0, cut // 2]
        reading = reader.read(export, 0, fetched_at=clock.now)
        assert b"".join([chunk async for chunk in reading.chunks()]) == host.content


async def test_a_file_replaced_between_two_requests_loses_the_export(downloads: Downloads, host: FileHost) -> None:
    host.etag = '"v2"'
    with pytest.raises(ExportLostError, match="file changed"):
        await read(downloads, host.link(), offset=100, etag='"v1"')


async def test_several_gzip_bodies_one_after_another_are_one_file(downloads: Downloads, host: FileHost) -> None:
    host.encoding = "gzip"
    host.encoded = gzip.compress(CONTENT[:1000]) + gzip.compress(b"") + gzip.compress(CONTENT[1000:])
    assert await read(downloads, host.link()) == CONTENT


async def test_an_empty_body_is_empty_whatever_its_encoding(downloads: Downloads, host: FileHost) -> None:
    host.encoding, host.encoded = "gzip", b""
    assert await read(downloads, host.link()) == b""


async def test_a_range_refused_within_the_file_is_read_and_dropped_instead(
    downloads: Downloads, host: FileHost
) -> None:
    host.statuses, host.headers_of_status = [416], {"Content-Range": f"bytes */{len(CONTENT)}"}
    assert await read(downloads, host.link(), offset=10) == CONTENT[10:]
