"""A program that only sleeps, on the CPU of the one that is measured: ``python -m benchmarks.sleeper``.

The system lets it in at once when it is due, whatever the other one does. So where it is as late as the other one's
event loop, that was not blocked: the CPU was away, which on a virtual machine no figure tells for sure.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from typing import Self

STEP_SECONDS = 0.01


class Sleeper:
    """Sleeps on a ``cpu``, a step at a time, within its context."""

    def __init__(self, cpu: int) -> None:
        self._cpu = cpu
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.sleeper", str(self._cpu)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()

    def latest(self) -> float:
        """By how many seconds it woke up too late, at worst, since it was asked last."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def sleep_on(cpu: int) -> None:
    os.sched_setaffinity(0, {cpu})
    latest = 0.0
    while True:
        due = time.monotonic() + STEP_SECONDS
        asked, _, _ = select.select([sys.stdin.fileno()], [], [], STEP_SECONDS)
        latest = max(latest, time.monotonic() - due)
        if asked:
            if not os.read(sys.stdin.fileno(), 1):
                return
            sys.stdout.write(f"{latest}\n")
            sys.stdout.flush()
            latest = 0.0


if __name__ == "__main__":
    sleep_on(int(sys.argv[1]))
