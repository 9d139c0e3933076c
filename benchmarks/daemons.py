"""The daemon as a process that is measured: how it is set up, and what its own metrics say."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import msgspec

from benchmarks.measured import MeasuredProcess
from benchmarks.runs import CONNECTION, ENTITY_TYPES, Setting
from benchmarks.sandbox import environment_of_children
from streamer.sandbox.kafka_ports import free_port

_BUCKET = re.compile(r'^streamer_loop_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


class Daemon(msgspec.Struct, frozen=True):
    """How the daemon is set up, under which name."""

    name: str
    delivery: str = "exactly_once"
    kernel: str = "auto"
    reconcile: bool = False
    """Whether lines are compared with what the topic holds, which is empty here."""
    streams: int = 1
    """How many exports at once, each of another entity type."""
    processes: int = 1
    """How many replicas share them."""
    exports_before: int = 0
    """How many of the same each stream has published before, as of a process that has run for a while."""
    module: str = "streamer"
    """What is run."""


class Reading(msgspec.Struct, frozen=True):
    """What was used up to a moment, and how many steps of the event loop came at most so late, in seconds."""

    cpu_seconds: float
    waited_seconds: float
    steps: dict[float, float]

    def latest_since(self, earlier: Reading) -> float:
        """A bound that no step since then has passed: that of the fullest bucket that all of them are in."""
        came = self.steps[float("inf")] - earlier.steps[float("inf")]
        return min(bound for bound, count in self.steps.items() if count - earlier.steps[bound] >= came)


class DaemonProcess:
    """One replica."""

    def __init__(self, measured: MeasuredProcess, port: int, config: Path) -> None:
        self.measured = measured
        self._port = port
        self._config = config

    @staticmethod
    def command(daemon: Daemon, config: Path) -> list[str]:
        return [sys.executable, "-m", daemon.module, "run", "--config", str(config)]

    def ask_for_snapshots(self) -> None:
        """Have each stream export everything once more, now."""
        command = [sys.executable, "-m", "streamer", "signal", "snapshot_now", "*", "--config", str(self._config)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment_of_children())

    def reading_before(self) -> Reading:
        """Its metrics first: what it costs to tell them is no part of the run."""
        steps = self._lateness()
        return Reading(*self._used(), steps)

    def reading_after(self) -> Reading:
        """Its metrics last, for the same reason."""
        used = self._used()
        return Reading(*used, self._lateness())

    def _used(self) -> tuple[float, float]:
        return self.measured.cpu_seconds(), self.measured.waited_seconds()

    def _lateness(self) -> dict[float, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as page:
            return lateness(page.read().decode())


def lateness(page: str) -> dict[float, float]:
    """By seconds, how many steps of the event loop came at most so late."""
    return {float(bound): float(count) for bound, count in _BUCKET.findall(page)}


def daemon_configuration(
    bootstrap_servers: str, prefix: str, setting: Setting, daemon: Daemon, platform_url: str
) -> tuple[int, str]:
    """A port for its metrics, and a file. Everything that matters for speed and memory stays as it is by default."""
    port = free_port()
    types = ", ".join(f'"{name}"' for name in ENTITY_TYPES[: daemon.streams])
    return (
        port,
        f"""
[kafka]
bootstrap_servers = ["{bootstrap_servers}"]
delivery = "{daemon.delivery}"
compression = "{setting.compression}"
[topics]
prefix = "{prefix}"
partitions = {setting.partitions}
headers = "{"cloudevents" if setting.headers else "none"}"
[exports]
poll_interval = "1s"
kernel = "{daemon.kernel}"
reconcile = {str(daemon.reconcile).lower()}
[http]
host = "127.0.0.1"
port = {port}
[[connections]]
name = "{CONNECTION}"
platform_url = "{platform_url}"
client_token = {{ env = "BENCHMARK_CLIENT_TOKEN" }}
access_token = {{ env = "BENCHMARK_ACCESS_TOKEN" }}
entity_types = [{types}]
""",
    )
