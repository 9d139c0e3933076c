"""Memory that is in use meanwhile: ``python -m benchmarks.ballast BYTES`` holds so much until its stdin is closed.

A virtual machine may hand memory that is free back to its host, and then whoever touches it next waits until the host
has given it out again: here 5 ms for 4 MB, and 100 at worst, which count as that program's CPU time. A broker's page
cache takes fresh memory all the time while there is any. With all but a few GB in use it takes its own again, as on a
machine that has been at work for a while.
"""

from __future__ import annotations

import mmap
import subprocess
import sys
from typing import Self


class Ballast:
    """So many bytes in use, within its context."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.ballast", str(self._size)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"there are no {self._size:,} bytes of memory to be had")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()


def hold(size: int) -> None:
    held = mmap.mmap(-1, size)
    for place in range(0, size, mmap.PAGESIZE):
        held[place] = 1
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    hold(int(sys.argv[1]))
