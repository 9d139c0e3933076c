"""The status page, and what keeps it up to date: rows of all streams, sent as they change.

The page needs nothing from anywhere else, and is told so by its ``Content-Security-Policy``. It can only look: every
route answers GET alone. One loop looks at the rows once a second for however many people are looking on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import msgspec
from aiohttp import web

from streamer import __version__
from streamer.core.throughput import Throughput

Row = dict[str, Any]

_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

LOOK_SECONDS = 1.0
"""How often the rows are looked at; what a commit changes is on the page within as much."""

MOST_VIEWERS = 100
"""Each holds a connection; more are told to come back later."""

_ALWAYS_NEW = {"lag_seconds"}
"""Fields that change with time alone: the page counts on by itself, from ``fresh_until``."""

_encode = msgspec.json.Encoder().encode


class StatusPage:
    """Serves the page and its events; ``rows`` tells the state of all streams, ``ready`` that of this replica."""

    def __init__(
        self,
        *,
        rows: Callable[[], list[Row]],
        ready: Callable[[], bool],
        replica: str,
        prefix: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``clock`` in seconds from anywhere, never going back."""
        self._rows = rows
        self._ready = ready
        self._about = {"replica": replica, "prefix": prefix, "version": __version__}
        self._clock = clock
        self._sleep = sleep
        self._throughput: dict[str, Throughput] = {}
        self._seen: dict[str, Row] = {}
        self._viewers: set[asyncio.Queue[bytes | None]] = set()
        self._files = {
            path: (resources.files("streamer.service.page_files").joinpath(name).read_bytes(), kind)
            for path, (name, kind) in _FILES.items()
        }

    def routes(self) -> list[web.AbstractRouteDef]:
        """What it answers."""
        return [
            *(web.get(path, self._file) for path in self._files),
            web.get("/api/streams", self._streams),
            web.get("/api/events", self._events),
        ]

    def rows(self) -> list[Row]:
        """All streams, with how fast they publish."""
        now = self._clock()
        return [self._with_throughput(row, now) for row in self._rows()]

    async def run(self) -> None:
        """Look at the rows and tell the viewers what has changed, for ever."""
        while True:
            if changed := self._changes():
                for viewer in self._viewers:
                    # One that has stopped reading is told everything anew when it comes back.
                    if viewer.qsize() < _BEHIND:
                        viewer.put_nowait(changed)
                    else:
                        _end(viewer)
            await self._sleep(LOOK_SECONDS)

    def close(self) -> None:
        """End what the viewers hold open, so that the server can stop."""
        for viewer in self._viewers:
            _end(viewer)

    def _changes(self) -> bytes | None:
        before, self._seen = self._seen, {row["stream"]: row for row in self.rows()}
        whole = set(before) != set(self._seen)
        changed = [row for key, row in self._seen.items() if whole or _without_time(row) != _without_time(before[key])]
        return self._message(changed, whole=whole) if changed or whole else None

    def _message(self, rows: list[Row], *, whole: bool) -> bytes:
        return _encode({**self._about, "ready": self._ready(), "whole": whole, "streams": rows})

    def _with_throughput(self, row: Row, now: float) -> Row:
        export = row.get("export") or {}
        if "bytes" not in export:
            export = max(
                filter(None, (row.get("last_snapshot"), row.get("last_window"))), key=_completed_at, default={}
            )
        if not row.get("owner"):
            # No checkpoint is read yet, or there is none: what the first one tells was published at some other time.
            return {**row, "bytes_per_second": 0, "seconds_left": None, "throughput": []}
        known = self._throughput.get(row["stream"])
        found = known or self._throughput.setdefault(row["stream"], Throughput(now))
        found.take(now, export.get("export_id"), export.get("bytes", 0), first=known is None)
        rate = found.rate(now)
        left = export.get("bytes_total", 0) - export.get("bytes", 0)
        return {
            **row,
            "bytes_per_second": round(rate),
            "seconds_left": round(left / rate) if left > 0 and rate > 0 else None,
            "throughput": found.curve(now),
        }

    async def _file(self, request: web.Request) -> web.Response:
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=_HEADERS)

    async def _streams(self, _request: web.Request) -> web.Response:
        body = _encode({**self._about, "streams": self.rows()})
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """All rows, then those that change, as server-sent events."""
        if len(self._viewers) >= MOST_VIEWERS:
            raise web.HTTPServiceUnavailable(text="too many viewers\n", headers={"Retry-After": "30"})
        answer = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        answer.content_type = "text/event-stream"
        await answer.prepare(request)
        viewer: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._viewers.add(viewer)
        try:
            message: bytes | None = self._message(self.rows(), whole=True)
            while message is not None:
                await answer.write(b"data: " + message + b"\n\n")
                message = await self._next(viewer)
        except ConnectionResetError:
            pass  # The viewer has left.
        finally:
            self._viewers.discard(viewer)
        return answer

    async def _next(self, viewer: asyncio.Queue[bytes | None]) -> bytes | None:
        """What to send next; after some time without anything the state of the replica, so that silence means loss."""
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                return await viewer.get()
        except TimeoutError:
            return self._message([], whole=False)


_BEHIND = 30
_SILENCE_SECONDS = 10.0


def _end(viewer: asyncio.Queue[bytes | None]) -> None:
    while not viewer.empty():
        viewer.get_nowait()
    viewer.put_nowait(None)


def _without_time(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in _ALWAYS_NEW}


def _completed_at(completed: Row) -> Any:
    return completed["completed_at"]
