"""A child process whose CPU time and peak memory are read from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import msgspec

from benchmarks.sandbox import environment_of_children

_LEAVE_SECONDS = 30.0
_KILOBYTE = 1 if sys.platform == "darwin" else 1024
"""What `ru_maxrss` counts in."""


def stolen_seconds() -> float:
    """For how long others on the same host had this virtual machine's processors so far, all of them together."""
    total, *_ = Path("/proc/stat").read_text().splitlines()
    return int(total.split()[8]) / os.sysconf("SC_CLK_TCK")


class Usage(msgspec.Struct, frozen=True):
    """What a process has come to in the end; ``peak_bytes`` is its largest resident memory.

    Of a pipeline, ``cpu_seconds`` are those of all its programs, and the peak is that of the largest one.
    """

    exit_code: int
    peak_bytes: int
    cpu_seconds: float


class MeasuredProcess:
    """A command as a process, on one CPU of its own if asked for; killed with its context, if need be.

    What it says goes to ``log``. Peak memory is `ru_maxrss`, which on Linux begins with the peak of the
    process that starts it, so that one has to stay small (45 MB here; anything with aiohttp is larger).
    """

    def __init__(self, *command: str, log: Path, cpu: int | None = None) -> None:
        self._log = log
        own = os.sched_getaffinity(0)
        if cpu is not None:
            # What it starts in turn, and at once, inherits it too.
            os.sched_setaffinity(0, {cpu})
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=subprocess.STDOUT,
                env=environment_of_children(),
            )
        os.sched_setaffinity(0, own)
        self._cpu_clock = ~self._process.pid << 3 | 2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far, also of those that have ended.

        The number is what `clock_getcpuclockid` makes of a process id on Linux; `/proc` counts in 10 ms only.
        """
        return time.clock_gettime(self._cpu_clock)

    def waited_seconds(self) -> float:
        """For how long its main thread could have run so far, and was given no CPU."""
        _, waited, _ = Path(f"/proc/{self._process.pid}/schedstat").read_text().split()
        return int(waited) / 1e9

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def log_tail(self) -> str:
        """The last that it said."""
        return self._log.read_text(errors="replace")[-4000:]

    def wait(self, seconds: float) -> Usage:
        """Until it ends by itself. Raises ``RuntimeError`` where it takes longer; it is killed with its context."""
        deadline = time.monotonic() + seconds
        while (usage := self._gone()) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"still at work after {seconds:g} s:\n{self.log_tail()}")
            time.sleep(0.005)
        return usage

    def end(self) -> Usage:
        """Ask it to leave (SIGTERM) and wait until it has, or kill it after 30 s."""
        deadline = time.monotonic() + _LEAVE_SECONDS
        self._process.send_signal(signal.SIGTERM)
        while (usage := self._gone()) is None:
            if time.monotonic() > deadline:
                self._process.send_signal(signal.SIGKILL)
            time.sleep(0.01)
        return usage

    def _gone(self) -> Usage | None:
        pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
        if not pid:
            return None
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return Usage(
            exit_code=self._process.returncode,
            peak_bytes=used.ru_maxrss * _KILOBYTE,
            cpu_seconds=used.ru_utime + used.ru_stime,
        )
