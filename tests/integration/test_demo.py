"""`streamer demo` as a person runs it: a process of its own, with its own Kafka. What it leaves behind is nothing."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class Demo:
    """The demo with a temporary folder of its own, which also marks every process that it starts."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.said = ""
        self._mark = f"TMPDIR={folder}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamer", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder), "STREAMER_KAFKA_BOOTSTRAP_SERVERS": "not.to.be.used:1"},
            text=True,
            start_new_session=True,
        )

    def until(self, words: str) -> str:
        """Read on until a line has the words; that line."""
        assert self._process.stdout
        for line in self._process.stdout:
            self.said += line
            if words in line:
                return line
        raise AssertionError(f"ended without saying {words!r}:\n{self.said}")

    def end(self) -> int:
        """Read all the rest; the exit code."""
        assert self._process.stdout
        self.said += self._process.stdout.read()
        self._process.stdout.close()
        return self._process.wait(30)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def processes(self) -> dict[int, str]:
        """All that runs with this demo's folder in its environment, by process id."""
        assert Path("/proc/self/environ").exists(), "without /proc nothing could be found, and so nothing proven"
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            # A process may end while it is looked at; one of another user is none of ours.
            with contextlib.suppress(OSError):
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def nothing_left(self, *, seconds: float = 0.0) -> bool:
        """Whether all its processes are gone, at once or within some time."""
        deadline = time.monotonic() + seconds
        while self.processes():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.2)
        return True

    def close(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdout:
            self._process.stdout.close()
        self._process.wait()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Demo]]:
    demos: list[Demo] = []
    yield demos
    for demo in demos:
        demo.close()


def start(started: list[Demo], folder: Path, *arguments: str) -> Demo:
    started.append(Demo(folder, *arguments))
    return started[-1]


def test_ends_by_itself_with_every_line_once_though_the_daemon_is_killed(started: list[Demo], tmp_path: Path) -> None:
    demo = start(started, tmp_path, "--entities", "600", "--kill", "1")
    first = re.search(r"pid (\d+)", demo.until("streamer daemon: http"))
    assert first
    demo.until("waiting: ")
    # Somebody else does it too.
    os.kill(int(first[1]), signal.SIGKILL)
    assert demo.end() == 0, demo.said

    assert f"the daemon (pid {first[1]}) was ended by SIGKILL; it is started again" in demo.said
    assert re.search(r"kill -9 \d+: \w+ is at byte [\d,]+ of [\d,]+, within file \d of 3", demo.said)
    assert "exactly once: 5,400 lines = 5,400 records, 0 missing, 0 doubled, 0 altered" in demo.said
    assert "the daemon died twice" in demo.said
    assert "export_completed  Reservation" in demo.said
    assert "mews.customer  partition " in demo.said
    for secret in ("demo-access-token", "demo-client-token", "sig="):
        assert secret not in demo.said
    assert demo.nothing_left()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("Apache Kafka: starting", signal.SIGTERM, 143),
        ("Apache Kafka: 127", signal.SIGINT, 130),
        ("publishing: ", signal.SIGINT, 130),
    ],
)
def test_a_signal_leaves_nothing_behind(
    started: list[Demo], tmp_path: Path, moment: str, number: signal.Signals, code: int
) -> None:
    demo = start(started, tmp_path, "--entities", "20000")
    demo.until(moment)
    demo.signal(number)
    assert demo.end() == code
    assert demo.nothing_left()
    assert not list(tmp_path.iterdir())
    assert "stopped" in demo.said.splitlines()[-1]


def test_no_process_outlives_a_demo_that_is_killed(started: list[Demo], tmp_path: Path) -> None:
    demo = start(started, tmp_path, "--entities", "20000")
    demo.until("waiting: ")
    assert len(demo.processes()) >= 4
    demo.signal(signal.SIGKILL)
    assert demo.end() == -signal.SIGKILL
    assert demo.nothing_left(seconds=10)


def test_says_what_went_wrong_and_keeps_the_logs(started: list[Demo], tmp_path: Path) -> None:
    demo = start(started, tmp_path, "--entities", "20000")
    demo.until("waiting: ")
    for pid, command in demo.processes().items():
        if "-m streamer simulator" in command and "watchdog" not in command:
            os.kill(pid, signal.SIGKILL)
    assert demo.end() == 1
    assert "streamer: the simulator was ended by SIGKILL" in demo.said
    assert demo.nothing_left()
    kept = re.search(r"whole log: (.*)", demo.said)
    assert kept
    assert Path(kept[1]).read_text()


def test_stays_up_when_asked_to_and_ctrl_c_is_then_its_proper_end(started: list[Demo], tmp_path: Path) -> None:
    demo = start(started, tmp_path, "--entities", "10", "--keep")
    topics = demo.until("  topics ").split()[1]
    demo.until("  logs ")
    read = subprocess.run([topics, "mews.reservation"], capture_output=True, text=True, check=True, timeout=60)
    assert read.stdout.count('{"Id":"') == 5
    demo.signal(signal.SIGINT)
    assert demo.end() == 0
    assert demo.nothing_left()
    assert not list(tmp_path.iterdir())
