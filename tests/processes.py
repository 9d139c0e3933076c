"""The command ``streamer`` as a process, for tests that look at all it says and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE = 60.0
"""Seconds for whatever has to happen at some time, on a busy machine."""


@dataclass(frozen=True)
class Said:
    """How a command ended, and all it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def sentence(self) -> str:
        """The one line on stderr that isn't a log line."""
        (line,) = [line for line in self.stderr.splitlines() if not line.startswith("{")]
        assert line.startswith("streamer: "), self.stderr
        assert "Traceback" not in self.stderr
        return line.removeprefix("streamer: ")


async def streamer(*arguments: str, cwd: Path, environment: Mapping[str, str] | None = None) -> Said:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamer", *arguments,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Said(process.returncode, stdout.decode(), stderr.decode())


class Process:
    """A command that goes on until it is told to stop; both its outputs go to a file."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path) -> None:
        self._process = process
        self._output = output

    @property
    def output(self) -> bytes:
        """Everything said so far."""
        return self._output.read_bytes()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log lines of this event so far."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith(b"{") and line.endswith(b"}")]
        return [line for line in lines if line.get("event") == event]

    async def until_logged(self, event: str) -> dict[str, Any]:
        """The first log line of this event, as soon as it is there."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.logged(event)):
            assert self._process.returncode is None, f"ended without {event}: {self.output.decode()}"
            assert time.monotonic() < deadline, f"no {event} within {PATIENCE:g} s: {self.output.decode()}"
            await asyncio.sleep(0.02)
        return found[0]

    async def page(self, path: str) -> tuple[int, bytes]:
        """Status and body of a page, headers with it."""
        port = (await self.until_logged("listening"))["port"]
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            headers = b"".join(name + b": " + value + b"\n" for name, value in answer.raw_headers)
            return answer.status, headers + b"\n" + await answer.read()

    async def streams(self) -> list[dict[str, Any]]:
        """What ``/api/streams`` tells."""
        _, page = await self.page("/api/streams")
        told = json.loads(page.partition(b"\n\n")[2])
        rows: list[dict[str, Any]] = told["streams"]
        return rows

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()


@asynccontextmanager
async def started(
    *arguments: str,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "streamer"),
) -> AsyncIterator[Process]:
    """A command that is killed with the block, if it has not ended before; ``program`` is how Python finds it."""
    output = cwd / f"output-{time.monotonic_ns()}"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *program, *arguments,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield Process(process, output)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
