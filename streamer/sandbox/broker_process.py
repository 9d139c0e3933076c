"""A broker's process, behind a watchdog that ends it when this process ends: see `watchdog.py`."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from streamer.sandbox import watchdog

_STOP_SECONDS = 20.0

_STOPPED_SECONDS = 5.0
"""How long threads may take to notice a SIGSTOP, which on a busy machine is not at once."""


class BrokerProcess:
    """One run of a broker, from its start on. What it prints is added to `log_file`."""

    def __init__(self, command: Sequence[str], log_file: Path) -> None:
        self._log_file = log_file
        self.pid = 0
        with log_file.open("ab") as log:
            self._said_before = log.tell()
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C is for the program that started the broker; that one stops it in good order.
                start_new_session=True,
            )
        try:
            self.pid = int(_pipe(self._watchdog.stdout).readline() or 0)
        except BaseException:
            self.kill()
            raise

    @property
    def running(self) -> bool:
        """Whether there is a process; a paused one counts."""
        return self._watchdog.poll() is None

    def stop(self) -> None:
        """End in good order, or after 20 s in any case."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._watchdog.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self._end()

    def kill(self) -> None:
        """End at once, as `kill -9` does."""
        self._signal(signal.SIGKILL)
        self._end()

    def pause(self) -> None:
        """Stand still. Returns once no thread runs any more."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + _STOPPED_SECONDS
        while not _stands_still(self.pid) and time.monotonic() < deadline:
            time.sleep(0.01)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def said(self, lines: int = 20) -> str:
        """The last lines that it has printed, and where the rest is."""
        with self._log_file.open("rb") as log:
            log.seek(self._said_before)
            said = log.read().decode(errors="replace").splitlines()
        return "\n".join([*said[-lines:], f"(all of it: {self._log_file})"])

    def _signal(self, number: signal.Signals) -> None:
        # The watchdog alone waits for the broker, and ends with it: as long as it runs, the number is the
        # broker's.
        if self.running and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _end(self) -> None:
        # Closing its input would end the broker too, should it still be there.
        _pipe(self._watchdog.stdin).close()
        self._watchdog.wait(_STOP_SECONDS)
        _pipe(self._watchdog.stdout).close()


def _stands_still(pid: int) -> bool:
    """Whether the system has stopped every thread of the process; taken for granted where it can't be asked."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            # The name before the state is in brackets and may hold anything, brackets too.
            states.append(stat.read_text().rpartition(")")[2].split()[0])
    return all(state in "Tt" for state in states)


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise AssertionError("the watchdog is always started with pipes")
    return stream
