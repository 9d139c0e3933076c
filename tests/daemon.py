"""The daemon as a process of its own: started, listened to, killed, and asked about its streams."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0
"""Seconds that a slow machine is given for anything that is waited for."""

ASK_AGAIN_SECONDS = 0.03

HARMLESS = {"Unexpected error in sender routine"}
"""What aiokafka says, traceback and all, where a connection ends while a coordinator is looked for: a producer
has failed, and the daemon goes on with a new one."""

Row = dict[str, Any]
"""A stream, as ``/api/streams`` tells it."""


@dataclass(frozen=True)
class Ended:
    """How a daemon ended after a signal, and how long that took."""

    code: int
    seconds: float


class Daemon:
    """``streamer run`` with the settings in ``config``. Killed with its context, whatever happens."""

    def __init__(self, config: Path, *, environment: Mapping[str, str], name: str = "daemon") -> None:
        self.name = name
        self.said: list[dict[str, Any]] = []
        """The lines of its log so far."""
        self._config = config
        self._environment = dict(environment)
        self._spoke = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._code: int | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "streamer", "run", "--config", str(self._config)),
            cwd=ROOT,
            env={**os.environ, **self._environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=2**22,
        )
        self._listener = asyncio.create_task(self._listen(self._process))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._code is not None

    def strike(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal and return at once; good in any thread."""
        if not self.ended:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """``kill -9``; returns when the process is no more."""
        self.strike()
        assert self._listener is not None
        await self._listener

    async def terminate(self, *, within: float = PATIENCE) -> Ended:
        """SIGTERM; returns when the process is no more."""
        self.strike(signal.SIGTERM)
        return await self.over(since=time.monotonic(), within=within)

    async def over(self, *, since: float, within: float = PATIENCE) -> Ended:
        """Wait for the end. ``since`` is when the time began, as ``time.monotonic`` tells it."""
        assert self._listener is not None
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(self._listener)
        except TimeoutError:
            raise AssertionError(f"{self.name} did not end within {within:g} s\n{self.tail()}") from None
        assert self._code is not None
        return Ended(self._code, time.monotonic() - since)

    async def logged(self, event: str, *, times: int = 1, within: float = PATIENCE, **fields: object) -> dict[str, Any]:
        """The line that tells of the ``times``-th such event, as soon as it is there; fields must be equal."""

        def found() -> list[dict[str, Any]]:
            return [
                line
                for line in self.said
                if line.get("event") == event and all(line.get(name) == value for name, value in fields.items())
            ]

        async with self._spoke:
            try:
                async with asyncio.timeout(within):
                    await self._spoke.wait_for(lambda: len(found()) >= times or self.ended)
            except TimeoutError:
                pass
        if len(found()) < times:
            why = "ended" if self.ended else f"ran for {within:g} s"
            wanted = f"{event} {fields or ''}".strip()
            raise AssertionError(f"{self.name} {why} without the log line {wanted} (x{times})\n{self.tail()}")
        return found()[times - 1]

    def events(self, event: str) -> list[dict[str, Any]]:
        """All lines so far that tell of this event."""
        return [line for line in self.said if line.get("event") == event]

    def complaints(self) -> list[dict[str, Any]]:
        """Lines that tell of a defect: what asyncio or the interpreter itself had to say, and tracebacks."""
        return [
            line
            for line in self.said
            if line["event"] not in HARMLESS
            and ("logger" not in line or line["logger"] == "asyncio" or "exception" in line)
        ]

    async def streams(self) -> dict[str, Row]:
        """What ``/api/streams`` tells, by stream."""
        return {row["stream"]: row for row in json.loads(await self.page("/api/streams"))["streams"]}

    async def metric(self, name: str, stream: str) -> float | None:
        """A gauge of the stream, as ``/metrics`` tells it; None where it tells none."""
        connection, _, entity_type = stream.partition("/")
        sample = f'streamer_{name}{{connection="{connection}",entity_type="{entity_type}"}} '
        lines = (await self.page("/metrics")).splitlines()
        return next((float(line.removeprefix(sample)) for line in lines if line.startswith(sample)), None)

    async def page(self, path: str) -> str:
        """A page of its probes."""
        port = (await self.logged("listening"))["port"]
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return await answer.text()

    async def until(
        self, condition: Callable[[dict[str, Row]], bool], what: str, *, within: float = PATIENCE
    ) -> dict[str, Row]:
        """Ask for the streams until the condition holds; ``what`` names it should it never."""
        deadline = time.monotonic() + within
        rows: dict[str, Row] = {}
        while not self.ended:
            rows = await self.streams()
            if condition(rows):
                return rows
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        why = "ended" if self.ended else f"ran for {within:g} s"
        raise AssertionError(f"{self.name} {why} before {what}: {rows}\n{self.tail()}")

    def peak_memory(self) -> int:
        """The most bytes of memory that it has had so far (``VmHWM``; Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def tail(self, lines: int = 25) -> str:
        """The last lines of the log, for the message of a failure."""
        said = "\n".join(f"  {json.dumps(line, ensure_ascii=False)}" for line in self.said[-lines:])
        return f"{self.name} (pid {self.pid}, exit code {self._code}) last said:\n{said}"

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while raw := await process.stderr.readline():
            async with self._spoke:
                self.said.append(_decoded(raw))
                self._spoke.notify_all()
        code = await process.wait()
        async with self._spoke:
            self._code = code
            self._spoke.notify_all()


def _decoded(raw: bytes) -> dict[str, Any]:
    """A line of the log; what is no JSON (a warning of Python, say) as an event of its own words."""
    try:
        line = json.loads(raw)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {"event": raw.decode(errors="replace").rstrip()}
