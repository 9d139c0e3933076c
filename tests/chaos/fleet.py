"""The daemons of a run: as many as are wanted, each with the same settings; who they were, and how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.daemon import Daemon, Row

ASK_SECONDS = 2.0
CLEAN_UP_SECONDS = 60.0
"""A daemon has 10 s to end after SIGTERM; more, where the machine and its broker are busy dying too. The report tells
what it took."""


@dataclass
class Life:
    """What is kept of a daemon: how old it became, and the most memory it had by then."""

    name: str
    pid: int
    born: float
    died: float = 0.0
    memory: list[tuple[float, int]] = field(default_factory=list)

    @property
    def peak(self) -> int:
        return max((size for _, size in self.memory), default=0)


class Fleet:
    """Keeps the wanted number of daemons running. ``found`` is what none of them must ever do."""

    def __init__(
        self,
        config: Path,
        *,
        environment: Mapping[str, str],
        search: Callable[[str, bytes], None],
        logs: Path,
        wanted: int,
    ) -> None:
        """``search`` is given all that a daemon says, with the place where it said it, to look for secrets there."""
        self.config = config
        self.wanted = wanted
        self.found: list[str] = []
        self.unclosed = 0
        """Clients of Kafka that daemons left open when they ended."""
        self.lives: dict[int, Life] = {}
        self.running: list[Daemon] = []
        """In the order of their start; also those that are frozen or on their way out."""
        self._environment = environment
        self._search = search
        self._logs = logs
        self._busy: set[Daemon] = set()
        self._expected: set[Daemon] = set()
        self._not_before = 0.0
        self._starting: asyncio.Task[Daemon] | None = None
        self._rows: dict[str, Row] = {}

    # -- coming and going -------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Start what is missing, and note what they need; for ever."""
        while True:
            for daemon in [daemon for daemon in self.running if daemon.ended]:
                self._bury(daemon)
            present = [daemon for daemon in self.running if daemon not in self._expected]
            if len(present) < self.wanted and time.monotonic() >= self._not_before:
                # Whoever cancels this must not leave a process behind that nobody knows of.
                self._starting = asyncio.create_task(self.start())
                await asyncio.shield(self._starting)
            for daemon in self.running:
                self._weigh(daemon)
            await asyncio.sleep(0.2)

    async def start(self) -> Daemon:
        daemon = Daemon(self.config, environment=self._environment, name=f"daemon {len(self.lives) + 1}")
        await daemon.__aenter__()
        self.running.append(daemon)
        self.lives[daemon.pid] = Life(daemon.name, daemon.pid, time.monotonic())
        return daemon

    async def close(self) -> None:
        if self._starting is not None:
            await self._starting
        for daemon in list(self.running):
            self._expected.add(daemon)
            await daemon.kill()
            self._bury(daemon)

    def free(self) -> list[Daemon]:
        """Those that nobody is doing anything to."""
        return [daemon for daemon in self.running if not daemon.ended and daemon not in self._busy | self._expected]

    # -- striking ---------------------------------------------------------------------------------------------------

    async def kill(self, daemon: Daemon, *, pause: float = 0.0) -> None:
        """SIGKILL; nobody takes its place for so many seconds."""
        self._weigh(daemon)
        self._expected.add(daemon)
        self._not_before = time.monotonic() + pause
        await daemon.kill()

    async def terminate(self, daemon: Daemon, let_go: Callable[[], object] = lambda: None) -> float:
        """SIGTERM; the seconds until it is gone. What is held back of it is let go once it has heard."""
        self._weigh(daemon)
        self._expected.add(daemon)
        since = time.monotonic()
        daemon.strike(signal.SIGTERM)
        with contextlib.suppress(AssertionError):
            await daemon.logged("draining", within=ASK_SECONDS)
        let_go()
        try:
            ended = await daemon.over(since=since, within=CLEAN_UP_SECONDS)
        except AssertionError as error:
            self.found.append(f"not ended by SIGTERM: {error}")
            await daemon.kill()
            return time.monotonic() - since
        # Before it can hear a signal Python itself ends by it; then it has not said a word yet.
        if ended.code != 0 and not (ended.code == -signal.SIGTERM and not daemon.said):
            self.found.append(f"exit code {ended.code} after SIGTERM: {daemon.tail()}")
        return ended.seconds

    async def freeze(self, daemon: Daemon, seconds: float, let_go: Callable[[], object] = lambda: None) -> None:
        """SIGSTOP, what is held back let go, and SIGCONT after some seconds."""
        self._busy.add(daemon)
        try:
            daemon.strike(signal.SIGSTOP)
            let_go()
            await asyncio.sleep(seconds)
        finally:
            daemon.strike(signal.SIGCONT)
            self._busy.discard(daemon)

    # -- asking -----------------------------------------------------------------------------------------------------

    async def rows(self) -> dict[str, Row]:
        """The streams, as the first daemon that answers tells of them; the last known ones if none does."""
        for daemon in reversed(self.free()):
            if not daemon.events("listening"):
                continue
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, AssertionError, ValueError):
                async with asyncio.timeout(ASK_SECONDS):
                    if rows := await daemon.streams():
                        self._rows = rows
                        break
        return self._rows

    def forget_rows(self) -> None:
        """What was told last is of no use any more."""
        self._rows = {}

    def owner(self, row: Row) -> Daemon | None:
        """The daemon that wrote a stream's checkpoint, if it is there and nobody is doing anything to it."""
        parts = str(row.get("owner") or "").split("/")
        return next((daemon for daemon in self.free() if parts[1:2] == [str(daemon.pid)]), None)

    def client(self, port: int) -> Daemon | None:
        """The daemon whose connection comes from a port of this machine (Linux)."""
        inodes = {f"socket:[{fields[9]}]" for fields in _tcp() if fields[1].endswith(f":{port:04X}")}
        for daemon in self.free():
            with contextlib.suppress(OSError):
                folder = f"/proc/{daemon.pid}/fd"
                for name in os.listdir(folder):
                    with contextlib.suppress(OSError):
                        if os.readlink(f"{folder}/{name}") in inodes:
                            return daemon
        return None

    async def read_pages(self) -> None:
        """Have the pages of one of them searched."""
        for daemon in self.free()[:1]:
            if not (listening := daemon.events("listening")):
                continue
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(ASK_SECONDS), aiohttp.ClientSession() as session:
                    for path in ("/", "/metrics", "/api/streams", "/readyz"):
                        async with session.get(f"http://127.0.0.1:{listening[0]['port']}{path}") as answer:
                            self._search(f"{path} of {daemon.name}", await answer.read())

    # -- the books --------------------------------------------------------------------------------------------------

    def _weigh(self, daemon: Daemon) -> None:
        with contextlib.suppress(OSError, AssertionError):
            life = self.lives[daemon.pid]
            life.memory.append((time.monotonic() - life.born, daemon.peak_memory()))
            # Only rises are of interest: the kernel's figure is a high-water mark already.
            if len(life.memory) > 2 and life.memory[-3][1] == life.memory[-1][1]:
                del life.memory[-2]

    def _bury(self, daemon: Daemon) -> None:
        self.running.remove(daemon)
        self.lives[daemon.pid].died = time.monotonic()
        if daemon not in self._expected:
            self.found.append(f"ended by itself: {daemon.tail()}")
        for line in daemon.complaints():
            # A client that SIGTERM interrupts in its start is not closed in good order. Told, but no defect.
            if str(line.get("event")).startswith("Unclosed AIOKafka"):
                self.unclosed += 1
            else:
                self.found.append(f"complaint of {daemon.name}: {line}")
        log = "\n".join(json.dumps(line, ensure_ascii=False) for line in daemon.said).encode()
        (self._logs / f"{daemon.name.replace(' ', '-')}.log").write_bytes(log)
        self._search(f"log of {daemon.name}", log)
        self._expected.discard(daemon)
        daemon.said.clear()


def _tcp() -> list[list[str]]:
    return [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
