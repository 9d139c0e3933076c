"""The HTTP side of a replica: probes, metrics and the state of the streams. Nothing on it changes anything."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from aiohttp import web

from streamer.errors import ConfigError
from streamer.metrics import CONTENT_TYPE, Metrics
from streamer.service.page import StatusPage

_LEAVE_SECONDS = 2.0
"""How long a request under way may take to end, once the port is closed."""


class Probes:
    """Serves them; ``ready`` is asked at each request."""

    def __init__(self, *, metrics: Metrics, ready: Callable[[], bool], page: StatusPage) -> None:
        self._metrics = metrics
        self._ready = ready
        self._page = page
        self._showing: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self.port = 0
        """The port that is listened on, once ``start`` has returned."""

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes any free one. Raises ``ConfigError`` where that can't be."""
        app = web.Application()
        app.add_routes(
            [
                *self._page.routes(),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._serve_metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_LEAVE_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self.stop()
            if error.errno == errno.EADDRINUSE:
                problem = f"port {port} is in use; choose another one, or 0 for any that is free"
                raise ConfigError("http.port", problem) from error
            raise ConfigError("http.host", f"can't listen on {host}:{port}: {error.strerror}") from error
        self.port = self._runner.addresses[0][1]
        self._showing = asyncio.create_task(self._page.run(), name="status page")

    async def stop(self) -> None:
        """Close the port."""
        if self._showing is not None:
            self._showing.cancel()
            await asyncio.gather(self._showing, return_exceptions=True)
        self._page.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        # That the loop came here is the proof; Kafka or Mews being down is no reason to restart.
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready = self._ready()
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)

    async def _serve_metrics(self, _request: web.Request) -> web.Response:
        page = bytearray()
        for part in self._metrics.parts():
            page += part
            await asyncio.sleep(0)  # whatever else is due
        return web.Response(body=bytes(page), headers={"Content-Type": CONTENT_TYPE})
