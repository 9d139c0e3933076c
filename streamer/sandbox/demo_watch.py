"""Watches the daemon until all nine streams are done: asks it how far it is, and starts it again when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from streamer.errors import FatalError
from streamer.sandbox.demo_processes import SESSION_SECONDS, Child, how_it_ended, last_lines
from streamer.sandbox.demo_progress import Meter, StreamProgress, is_mid_file, read_streams, share, transactions
from streamer.sandbox.demo_screens import Screen
from streamer.sandbox.demo_view import whole_of

DAEMON = "streamer daemon"

_ASK_SECONDS = 0.25
_ANSWER_TIMEOUT = aiohttp.ClientTimeout(total=2.0)
_STALLED_SECONDS = 120.0
_FAILURES_ALLOWED = 3
"""How often the daemon may end by itself with an error, without any progress in between."""


class Watch:
    """The daemon's keeper. ``check_others`` raises when the demo can't go on for another reason."""

    def __init__(
        self,
        start_daemon: Callable[[], Child],
        *,
        screen: Screen,
        url: str,
        simulator: aiohttp.ClientSession,
        kills: int,
        check_others: Callable[[], None],
    ) -> None:
        self.url = url
        self.kills = 0
        """How often the daemon was killed, by us or by somebody else."""
        self.meter = Meter()
        self._start_daemon = start_daemon
        self._screen = screen
        self._simulator = simulator
        self._kills_left = self._kills_wanted = kills
        self._check_others = check_others
        self._meters: dict[str, Meter] = {}
        self._sizes: dict[str, list[int]] = {}
        self._daemon: Child | None = None
        self._transactions_before = 0
        self._failures = 0
        self._died_at: float | None = None
        self._moved_at = time.monotonic()
        self._answered = False

    @property
    def pid(self) -> int:
        return self._daemon.pid if self._daemon else 0

    async def until_done(self) -> None:
        """Return when each stream has completed its export. Raises ``FatalError``."""
        self._start()
        async with aiohttp.ClientSession(self.url, timeout=_ANSWER_TIMEOUT) as daemon:
            while True:
                self._check_others()
                await self.look_after()
                streams = await self._ask(daemon)
                self._take(streams)
                if all(stream.done for stream in streams):
                    break
                await self._maybe_kill(streams)
                await asyncio.sleep(_ASK_SECONDS)
        if self._kills_left:
            self._screen.news(
                f"all done before kill {self._kills_wanted - self._kills_left + 1}: ask for more --entities"
            )

    async def look_after(self) -> None:
        """Start the daemon again if it has died. Raises ``FatalError`` where that is no use."""
        daemon = self._daemon
        if daemon is None or (code := daemon.ended) is None:
            return
        daemon.kill()
        how = how_it_ended(code)
        failed = 0 < code < 128
        self._failures += failed
        if code == 2 or self._failures >= _FAILURES_ALLOWED:
            raise FatalError(f"the daemon {how}\n{last_lines(daemon.log)}")
        self.kills += not failed
        self._died_at = time.monotonic()
        self._transactions_before = self._screen.picture.transactions
        self._screen.picture.pid = None
        self._screen.part(DAEMON, "down", how)
        self._screen.news(f"the daemon (pid {daemon.pid}) {how}; it is started again")
        if failed:
            await asyncio.sleep(1.0)
        self._start()

    def stop(self) -> None:
        """End the daemon in good order. Blocks."""
        if self._daemon is not None:
            self._daemon.stop()

    def kill(self) -> None:
        """End the daemon at once."""
        if self._daemon is not None:
            self._daemon.kill()

    def _start(self) -> None:
        self._daemon = self._start_daemon()
        self._answered = False
        self._screen.picture.pid = self._daemon.pid
        self._screen.part(DAEMON, "busy", f"pid {self._daemon.pid}, starting")

    async def _ask(self, daemon: aiohttp.ClientSession) -> tuple[StreamProgress, ...]:
        """The streams as the daemon tells them; as they were, where it doesn't answer."""
        picture = self._screen.picture
        try:
            async with daemon.get("/api/streams") as answer:
                rows = (await answer.json())["streams"]
            async with daemon.get("/metrics") as answer:
                committed = transactions(await answer.text())
        except (aiohttp.ClientError, TimeoutError, OSError):
            if self._answered and self._daemon is not None and self._daemon.ended is None:
                self._answered = False
                self._screen.part(DAEMON, "busy", f"pid {self.pid} does not answer")
            return picture.streams
        if not self._answered:
            self._answered = True
            self._screen.part(DAEMON, "up", f"{self.url}   pid {self.pid}")
            if self._died_at is not None:
                self._screen.news(
                    f"it is pid {self.pid} now, and gets the dead one's work after {SESSION_SECONDS} s of silence"
                )
        picture.transactions = max(picture.transactions, self._transactions_before + committed)
        return read_streams(rows, picture.streams)

    def _take(self, streams: tuple[StreamProgress, ...]) -> None:
        """Measure, and tell the screen."""
        picture, now = self._screen.picture, time.monotonic()
        whole, before = whole_of(streams), whole_of(picture.streams)
        self.meter.saw(now, records=whole.records, size=whole.size)
        for stream in streams:
            meter = self._meters.setdefault(stream.entity_type, Meter())
            meter.saw(now, records=stream.records, size=stream.size)
            picture.rates = {**picture.rates, stream.entity_type: (meter.overall if stream.done else meter.recent)[0]}
        picture.rate = self.meter.overall if whole.done else self.meter.recent
        for stream in streams:
            if stream.phase in ("stopped", "unreadable"):
                raise FatalError(
                    f"the stream {stream.entity_type} is {stream.phase}: {stream.error or 'no reason was given'}"
                    f"\n{self._log()}"
                )
        if whole.lines > before.lines or [s.words for s in streams] != [s.words for s in picture.streams]:
            self._moved_at, self._failures = now, 0
            if self._died_at is not None and whole.lines > before.lines:
                self._screen.news(f"going on, {now - self._died_at:.1f} s after it died")
                self._died_at = None
        elif now - self._moved_at > _STALLED_SECONDS:
            raise FatalError(f"nothing has moved for {_STALLED_SECONDS:.0f} s\n{self._log()}")
        self._screen.update(streams)

    async def _maybe_kill(self, streams: tuple[StreamProgress, ...]) -> None:
        if not self._kills_left or not self._answered or self._died_at is not None or self._daemon is None:
            return
        sizes = await self._file_sizes()
        if len(sizes) < len(streams):
            return
        due = (self._kills_wanted - self._kills_left + 1) / (self._kills_wanted + 1)
        if share(streams, sum(map(sum, sizes.values()))) < due * 0.9:
            return
        for stream in streams:
            if is_mid_file(stream, sizes[stream.entity_type]):
                self._kills_left -= 1
                self._screen.news(
                    f"kill -9 {self.pid}: {stream.entity_type} is at byte {stream.size:,} of {stream.total:,}, "
                    f"within file {stream.file + 1} of {stream.files}"
                )
                os.kill(self.pid, signal.SIGKILL)
                return

    async def _file_sizes(self) -> Mapping[str, list[int]]:
        if len(self._sizes) < len(self._screen.picture.streams):
            for export in await self.exports():
                self._sizes[export["entity_type"]] = [file["size"] for file in export["files"]]
        return self._sizes

    async def exports(self) -> list[dict[str, Any]]:
        """All exports that the simulator was asked for."""
        async with self._simulator.get("/_control/state") as answer:
            exports: list[dict[str, Any]] = (await answer.json())["exports"]
        return exports

    def _log(self) -> str:
        return last_lines(self._daemon.log) if self._daemon else ""
