"""A file host on loopback that does what it is told to, with the knobs of ``MemoryFiles`` and those of HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

SIGNATURE = "sig=a%2Bb%2Fc%3D"


class Asked(msgspec.Struct, frozen=True):
    target: str
    headers: Mapping[str, str]


class FileHost:
    """Serves ``content`` under any path.

    ``cuts`` and ``statuses`` are used up by requests, the first first: a cut is how many bytes are served before the
    connection breaks (``None``: all), a status is answered instead of the file, with ``headers_of_status``.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag: str | None = None
        self.cuts: list[int | None] = []
        self.statuses: list[int] = []
        self.headers_of_status: dict[str, str] = {}
        self.ranges: Literal["kept", "ignored", "shifted", "unnamed", "refused"] = "kept"
        self.encoding: str | None = None
        self.encoded: bytes | None = None
        self.framing: Literal["length", "chunked", "close"] = "length"
        self.stall_at: int | None = None
        self.garbled_at: int | None = None
        """In a chunked body, after so many bytes, and once ``garbling`` is set: what is no chunk."""
        self.garbling = asyncio.Event()
        self.asked: list[Asked] = []
        self.sent = asyncio.Event()
        self._server = TestServer(web.Application())
        self._server.app.router.add_get("/{path:.*}", self._answer)

    async def start(self) -> None:
        await self._server.start_server()

    async def close(self) -> None:
        await self._server.close()

    def link(self, name: str = "e1-0.jsonl") -> str:
        return str(self._server.make_url("/files/")) + f"{name}?{SIGNATURE}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(request.raw_path, dict(request.headers)))
        if self.statuses:
            return web.Response(status=self.statuses.pop(0), headers=self.headers_of_status)
        status, start, headers = 200, 0, {}
        if self.etag is not None:
            headers["ETag"] = self.etag
        if "Range" in request.headers and self.ranges != "ignored" and self._may_be_partial(request):
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(self.content):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.content)}"})
            if self.ranges == "refused":
                return web.Response(status=416)
            status = 206
            if self.ranges == "shifted":
                start -= 1
            if self.ranges != "unnamed":
                last = len(self.content) - 1
                headers["Content-Range"] = f"bytes {start}-{last}/{len(self.content)}"
        body = self.content[start:]
        if self.encoding is not None:
            headers["Content-Encoding"] = self.encoding
            body = self.encoded if self.encoded is not None else body
        return await self._send(request, status, headers, body)

    def _may_be_partial(self, request: web.Request) -> bool:
        wanted = request.headers.get("If-Range")
        return wanted is None or wanted == self.etag

    async def _send(
        self, request: web.Request, status: int, headers: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        if self.framing == "length":
            response.content_length = len(body)
        elif self.framing == "chunked":
            response.enable_chunked_encoding()
        else:
            response.force_close()
        await response.prepare(request)
        cut = self.cuts.pop(0) if self.cuts else None
        if self.stall_at is not None:
            await response.write(body[: self.stall_at])
            await asyncio.Event().wait()
        if self.garbled_at is not None:
            assert request.transport is not None
            await response.write(body[: self.garbled_at])
            await self.garbling.wait()
            request.transport.write(b"no number\r\nof bytes")
            self.sent.set()
            await asyncio.Event().wait()
        await response.write(body if cut is None else body[:cut])
        if cut is not None:
            assert request.transport is not None
            request.transport.close()
        self.sent.set()
        return response
