"""The demo's programs: the simulator and the daemon, each under a watchdog, each with a log of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from streamer.errors import FatalError
from streamer.sandbox import watchdog
from streamer.sandbox.simulator_settings import SimulatorSettings

CONNECTION = "alpine-hotels"
SESSION_SECONDS = 3
"""How long the group waits for a dead daemon. The local broker allows that little; others say 6 s and more."""

_CONFIG = """\
# Made by `streamer demo`. Both tokens come from the environment; of the simulator's, none is a secret.
[kafka]
bootstrap_servers = ["{bootstrap_servers}"]
session_timeout = "{session_seconds}s"    # short: the demo kills the daemon for show

[topics]
partitions = 4

[exports]
poll_interval = "1s"      # the simulator doesn't mind; Mews asks for 5m
update_interval = "off"
# Small blocks, so that there is something to see.
transaction_bytes = 4_000_000
transaction_seconds = 0.5

[http]
host = "127.0.0.1"
port = {port}

[[connections]]
name = "{connection}"
platform_url = "{platform_url}"
client_token = {{ env = "MEWS_CLIENT_TOKEN" }}
access_token = {{ env = "MEWS_ACCESS_TOKEN" }}
"""


def daemon_config(*, bootstrap_servers: str, platform_url: str, port: int) -> str:
    """The settings of the demo's daemon, as a person would write them."""
    return _CONFIG.format(
        bootstrap_servers=bootstrap_servers,
        session_seconds=SESSION_SECONDS,
        port=port,
        connection=CONNECTION,
        platform_url=platform_url,
    )


def simulator_command(*, entities: int, seed: int, bytes_per_second: int | None) -> list[str]:
    """Two seconds until an export is ready: enough to see the waiting, and no more."""
    options: dict[str, float] = {
        "--entities": entities,
        "--seed": seed,
        "--pending-seconds": 0.7,
        "--processing-seconds": 1.3,
    }
    if bytes_per_second is not None:
        options["--bytes-per-second"] = bytes_per_second
    return streamer_command("simulator", "--no-updates", *(str(part) for pair in options.items() for part in pair))


def streamer_command(*arguments: str) -> list[str]:
    """How this very program is started again."""
    return [sys.executable, "-m", "streamer", *arguments]


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with the tokens, and without settings that would win over the demo's own."""
    settings = SimulatorSettings()
    kept = {name: value for name, value in environ.items() if not name.startswith("STREAMER_")}
    return {**kept, "MEWS_CLIENT_TOKEN": settings.client_token, "MEWS_ACCESS_TOKEN": settings.access_tokens[0]}


class Child:
    """A program in a process group of its own, which ends with this process, however that ends."""

    def __init__(self, name: str, command: list[str], *, log: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.log_start = output.tell()
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(environ),
                start_new_session=True,
            )
        self.pid = 0
        try:
            self.pid = int(_pipe(self._watchdog.stdout).readline() or 0)
        finally:
            if not self.pid:
                self.kill()
        if not self.pid:
            raise FatalError(f"{name} could not be started\n{last_lines(log)}")

    @property
    def ended(self) -> int | None:
        """None while it runs; then its exit code, where 128 and more is a signal's number plus 128."""
        return self._watchdog.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send it to the program and what it has started."""
        # As long as the watchdog runs, the number is the program's.
        if self.pid and self.ended is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def stop(self, seconds: float = 10.0) -> int:
        """SIGTERM, and SIGKILL if that is not obeyed in time; the exit code."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._watchdog.wait(seconds)
        return self.kill()

    def kill(self) -> int:
        """End it at once, and forget it."""
        self.signal(signal.SIGKILL)
        _pipe(self._watchdog.stdin).close()
        code = self._watchdog.wait()
        _pipe(self._watchdog.stdout).close()
        if code < 0 and self.pid:
            # Somebody has killed the watchdog; the program is still there, or was a moment ago.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return code

    def said(self, field: str) -> str | None:
        """The value of a field of a line of JSON that it has written, the first one."""
        with self.log.open("rb") as log:
            log.seek(self.log_start)
            for line in log:
                value = _fields(line.decode(errors="replace")).get(field)
                if isinstance(value, str):
                    return value
        return None

    def wait_for(self, field: str, seconds: float = 30.0) -> str:
        """As ``said``, as soon as it has. Blocks."""
        deadline = time.monotonic() + seconds
        while self.ended is None and time.monotonic() < deadline:
            if found := self.said(field):
                return found
            time.sleep(0.05)
        how = how_it_ended(self.ended) if self.ended is not None else f"said nothing within {seconds:.0f} s"
        raise FatalError(f"{self.name} {how}\n{last_lines(self.log)}")


def how_it_ended(code: int) -> str:
    """An exit code in words, to follow the name of the program."""
    number = code - 128 if code > 128 else -code
    if code > 128 or code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(number).name}"
    return "ended by itself" if code == 0 else f"ended with exit code {code}"


def last_lines(log: Path, count: int = 6) -> str:
    """The end of a log for people, and where all of it lies."""
    with contextlib.suppress(OSError):
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-count:]
        return "\n".join([*(f"  | {_readable(line)}" for line in said), f"  whole log: {log}"])
    return f"  there is no log {log}"


def _readable(line: str) -> str:
    fields = _fields(line)
    if "event" not in fields:
        return line[:240]
    hidden = ("event", "level", "logger", "timestamp", "exception")
    more = " ".join(f"{name}={value}" for name, value in fields.items() if name not in hidden)
    cause = str(fields.get("exception", "")).strip().rpartition("\n")[2]
    return " ".join(filter(None, (str(fields.get("level", "")), str(fields["event"]), more, cause)))[:240]


def _fields(line: str) -> dict[str, object]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("the watchdog is always started with pipes")
    return stream
