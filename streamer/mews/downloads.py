"""Reads one file of an export from a byte on; going on after a break is for ``streamer.service.reading``.

Nothing is documented about the host of the files: not ``Range``, not encodings, not what an expired link
answers. So whatever it does ends in the same: the bytes from the one asked for, counted as they are without
any encoding, or an error that says what to do. Where a range can't be had, the file is read from its start
and what is done already is dropped.

A newcomer would get wrong: the link goes out exactly as it came (yarl would rewrite its signature); a body
that *ends* may still be too short, only ``Body.position`` tells; and aiohttp throws away what it has already
received when a connection breaks, so a reader that is slower than the network might never get on (see
``_Received``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import structlog
import yarl

from streamer.errors import (
    AccessRefusedError,
    DownloadBrokenError,
    ExportLostError,
    LinkRefusedError,
)
from streamer.mews.client import describe
from streamer.mews.encodings import Decoded, Source, encoding
from streamer.mews.headers import content_range, retry_after, strong_etag
from streamer.model import ExportFile

MOST_REDIRECTS = 5

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_log = structlog.get_logger()


class Body:
    """What is left of a file, as chunks of less than 1 MB; good within ``Downloads.open`` only.

    Iterating raises ``DownloadBrokenError`` where the body is cut or stalls, and ``ExportLostError`` where it
    does not agree with the bytes before the offset.
    """

    def __init__(self, source: Source, *, position: int, offset: int, tail: bytes, etag: str | None) -> None:
        self.etag = etag
        """The version of the file, ``None`` where the server names none that vouches for every byte."""
        self.position = position
        """The byte of the file that comes next; after the last chunk, the length of the file as it was
        served.
        """
        self._source = source
        self._offset = offset
        self._tail = tail

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while chunk := await self._source.read():
            if new := self._after_offset(chunk):
                return new
        raise StopAsyncIteration

    def _after_offset(self, chunk: bytes) -> bytes:
        start = self.position
        self.position += len(chunk)
        if start >= self._offset:
            return chunk
        tail_start = self._offset - len(self._tail)
        again = chunk[max(0, tail_start - start) : self._offset - start]
        seen_at = max(start, tail_start) - tail_start
        if again and again != self._tail[seen_at : seen_at + len(again)]:
            raise ExportLostError("file changed")
        return chunk[self._offset - start :]


class Downloads:
    """Where files are read from; one for all connections of one kind of platform."""

    def __init__(self, session: aiohttp.ClientSession, *, clock: Callable[[], float], allow_http: bool = False) -> None:
        """``session`` as ``file_session`` builds it; ``clock`` in seconds; ``allow_http`` for loopback
        platforms.
        """
        self._session = session
        self._clock = clock
        self._schemes = {"https", "http"} if allow_http else {"https"}

    @asynccontextmanager
    async def open(
        self, file: ExportFile, *, offset: int, tail: bytes = b"", etag: str | None = None
    ) -> AsyncGenerator[Body, None]:
        """The file from byte ``offset`` on.

        ``tail``: the bytes just before ``offset``, as many as are at hand; the server has to send the same
        again. ``etag``: ``Body.etag`` of an earlier reading of the same file.

        Raises, here or from the body: ``LinkRefusedError`` (401, 403, 404, 410, other 4xx),
        ``DownloadBrokenError`` (408, 429, 5xx, network, stall, an answer that makes no sense),
        ``ExportLostError`` with the reason ``file changed``, ``AccessRefusedError`` where the link or a
        redirect leads to a scheme that isn't allowed.
        """
        start = offset - len(tail)
        if start < 0:
            raise ValueError("the tail is longer than what lies before the offset")
        started = self._clock()
        response = await self._ask(file, start=start, etag=etag)
        try:
            if not _is_usable(response, start):
                response.close()
                response, start = await self._ask(file, start=0, etag=None), 0
                if not _is_usable(response, 0):
                    raise DownloadBrokenError(f"{file.name}: answered a range that nobody asked for")
            received = _Received(file, response, stall_seconds=self._session.timeout.sock_read)
            body = _body(file, response, received, start=start, offset=offset, tail=tail)
            if etag is not None and body.etag not in (None, etag):
                raise ExportLostError("file changed")
            _log.debug(
                "file_opened",
                file=file.name,
                status=response.status,
                offset=offset,
                position=body.position,
                seconds=round(self._clock() - started, 3),
            )
            yield body
        finally:
            # Not `release`, which keeps the connection. One whose body was read to its end is kept all the
            # same.
            response.close()

    async def _ask(self, file: ExportFile, *, start: int, etag: str | None) -> aiohttp.ClientResponse:
        """An answer with status 200, 206 or 416."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if etag is not None:
                headers["If-Range"] = etag
        try:
            response = await self._follow(file, headers)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Without the cause: aiohttp and yarl quote the whole link in some of their texts.
            raise DownloadBrokenError(f"{file.name}: {describe(error)}") from None
        status = response.status
        if status in (200, 206) or (status == 416 and start):
            return response
        wait = retry_after(response.headers)
        response.close()
        if status in (408, 416, 429) or not 400 <= status < 500:
            raise DownloadBrokenError(f"{file.name}: status {status}", retry_after=wait)
        raise LinkRefusedError(f"{file.name}: the link is refused with status {status}", retry_after=wait)

    async def _follow(self, file: ExportFile, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        link = file.link.reveal()
        if any(character <= " " for character in link):
            raise ValueError("taken as it is, this would end the request line")
        address = yarl.URL(link, encoded=True)
        for _ in range(MOST_REDIRECTS + 1):
            if address.scheme not in self._schemes:
                raise AccessRefusedError(f"{file.name}: a link with a scheme other than https is not followed")
            response = await self._session.get(address, headers=headers, allow_redirects=False)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.close()
            address = address.join(yarl.URL(location, encoded=True))
        raise DownloadBrokenError(f"{file.name}: more than {MOST_REDIRECTS} redirects")


def _is_usable(response: aiohttp.ClientResponse, start: int) -> bool:
    """Whether the answer's bytes are the whole file, or those from ``start`` on."""
    given = content_range(response.headers)
    match response.status:
        case 206:
            # A part of an encoded body can't be decoded, and would be counted in other bytes than ours.
            return given is not None and given.start == start and not encoding(response.headers)
        case 416:
            return given is not None and given.start is None and (given.length or 0) <= start
        case _:
            return True


def _body(
    file: ExportFile, response: aiohttp.ClientResponse, received: _Received, *, start: int, offset: int, tail: bytes
) -> Body:
    etag = strong_etag(response.headers)
    match response.status:
        case 206:
            return Body(received, position=start, offset=offset, tail=tail, etag=etag)
        case 416:
            given = content_range(response.headers)
            length = given.length if given and given.length is not None else start
            return Body(_Nothing(), position=length, offset=offset, tail=tail, etag=etag)
        case _ if encoded := encoding(response.headers):
            # The tag of an encoded body is another one than that of the same file without encoding.
            decoded = Decoded(received, encoding=encoded, name=file.name)
            return Body(decoded, position=0, offset=offset, tail=tail, etag=None)
        case _:
            return Body(received, position=0, offset=offset, tail=tail, etag=etag)


class _Received:
    """The bytes of a body as they come from the network."""

    def __init__(self, file: ExportFile, response: aiohttp.ClientResponse, *, stall_seconds: float | None) -> None:
        self._file = file
        self._stall_seconds = stall_seconds
        self._stream = response.content
        self._is_chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
        self._broken: DownloadBrokenError | None = None

    async def read(self) -> bytes:
        if self._broken is not None:
            raise self._broken
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await self._next()
        # Why a timeout besides aiohttp's, and a RuntimeError: after framing that makes no sense aiohttp takes its own
        # timeout away and doesn't tell whoever waits for the body, and takes a read after that for a mistake of ours.
        except (aiohttp.ClientError, OSError, RuntimeError, aiohttp.http_exceptions.HttpProcessingError) as error:
            if isinstance(error, RuntimeError) and self._stream._protocol.connected:
                raise
            self._broken = DownloadBrokenError(f"{self._file.name}: {describe(error)}")
        # A broken stream refuses to hand out what it received before it broke. To a reader that was busy
        # elsewhere this can be all that came over the connection, and then no number of attempts would bring
        # it any further.
        self._stream._exception = None
        return self._stream.read_nowait() or await self.read()

    async def _next(self) -> bytes:
        if self._is_chunked:
            return await self._stream.readany()
        # As it came from the socket: `readany` joins all that lies ready, which is one more copy of the file. The
        # pieces of a chunked body, though, are as small as its server likes.
        piece, _ = await self._stream.readchunk()
        return piece


class _Nothing:
    async def read(self) -> bytes:
        return b""
