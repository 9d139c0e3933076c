"""The two ways to publish an export, each as one measured run that begins with the first file.

Both are held at their first request for a file. What has been used by then is start-up (imports, connections, topics,
joining the group) and does not count; then the file is let go, and the clocks run until everything is acknowledged.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

from benchmarks.kafka import Topics
from benchmarks.measured import MeasuredProcess, Usage
from benchmarks.naive_task import Task
from benchmarks.peer_task import PeerTask
from benchmarks.peers import Peer
from benchmarks.sandbox import SimulatorProcess

DAEMON, NAIVE = "streamer", "naive"
ENTITY_TYPE = "Reservation"
PARTITIONS = 12
_CONNECTION = "benchmark"
_FIXED_HEADERS = {
    "ce_specversion": "1.0",
    "ce_source": f"/mews/{_CONNECTION}",
    "ce_type": f"com.mews.{ENTITY_TYPE}",
    "content-type": "application/json",
}
"""With ``ce_id`` the five that the daemon writes."""
_START_SECONDS = 60.0
_RUN_SECONDS = 1_800.0


class Setting(msgspec.Struct, frozen=True):
    """What all ways have in common."""

    line_bytes: int
    compression: str
    export_bytes: int
    files: int
    headers: bool = True
    partitions: int = PARTITIONS


class Daemon(msgspec.Struct, frozen=True):
    """How the daemon is set up, under which name."""

    name: str = DAEMON
    delivery: str = "exactly_once"
    kernel: str = "auto"
    reconcile: bool = False
    """Whether lines are compared with what the topic holds, which is empty here; that is gathered in Python."""


class Run(msgspec.Struct, frozen=True):
    """What one run took. ``startup_cpu_seconds`` come before ``cpu_seconds`` and are not part of them."""

    line_bytes: int
    compression: str
    headers: bool
    partitions: int
    way: str
    records: int
    seconds: float
    cpu_seconds: float
    startup_cpu_seconds: float
    peak_bytes: int
    wrong: str
    """What is wrong with the result; empty if the counts are exact."""

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.records * (self.line_bytes + 1) / self.seconds / 1e6

    @property
    def cpu_microseconds(self) -> float:
        return self.cpu_seconds / self.records * 1e6


class Runner:
    """Makes runs on one broker, one after another. ``cpu`` is the one that measured processes are kept on."""

    def __init__(self, bootstrap_servers: str, directory: Path, *, cpu: int | None) -> None:
        self._servers = bootstrap_servers
        self._directory = directory
        self._cpu = cpu
        self._topics = Topics(bootstrap_servers)
        self._runs = 0

    def daemon(self, setting: Setting, daemon: Daemon = Daemon()) -> Run:  # noqa: B008 (immutable)
        """The whole export through `streamer run`, up to the commit of its ``export_completed``."""
        prefix = self._next_prefix()
        config = self._directory / f"{prefix}.toml"
        with _simulator(setting) as simulator:
            config.write_text(_config(self._servers, prefix, setting, daemon, simulator.url))
            simulator.hold_first_file()
            with self._process(sys.executable, "-m", "streamer", "run", "--config", str(config)) as process:
                _wait_for_first_file(simulator, process)
                before, began = process.cpu_seconds(), time.monotonic()
                simulator.release()
                event, ended = self._topics.wait_for_event(
                    f"{prefix}.exports", "export_completed", seconds=_RUN_SECONDS, give_up=process.ended
                )
                after = process.cpu_seconds()
                usage = process.end()
            expected = simulator.lines()
        topic = f"{prefix}.{ENTITY_TYPE.lower()}"
        wrong = self._wrong(topic, expected, setting)
        if not wrong and usage.exit_code:
            wrong = f"the daemon left with exit code {usage.exit_code}"
        if not wrong and event["records"] != expected:
            wrong = f"export_completed says {event['records']:,} records instead of {expected:,}"
        self._topics.delete(prefix)
        return _run(setting, daemon.name, expected, ended - began, before, after, usage, wrong)

    def naive(self, setting: Setting, lines: int) -> Run:
        """The first lines of the same export with a `send` each, up to the last acknowledgement."""
        topic = self._next_prefix()
        self._topics.create(topic, partitions=setting.partitions)
        with _simulator(setting) as simulator:
            export = simulator.add_export(ENTITY_TYPE)
            lines = min(lines, simulator.lines())
            task = Task(
                bootstrap_servers=self._servers,
                topic=topic,
                compression=None if setting.compression == "none" else setting.compression,
                source=f"/mews/{_CONNECTION}",
                entity_type=ENTITY_TYPE,
                export_id=export["Id"],
                links=[file["Url"] for file in export["Files"]],
                lines=lines,
                headers=setting.headers,
            )
            simulator.hold_first_file()
            with self._process(sys.executable, "-m", "benchmarks.naive_publisher") as process:
                process.tell(msgspec.json.encode(task))
                _wait_for_first_file(simulator, process)
                before, began = process.cpu_seconds(), time.monotonic()
                simulator.release()
                process.wait_until_done()
                ended, after = time.monotonic(), process.cpu_seconds()
                usage = process.end()
        wrong = self._wrong(topic, lines, setting)
        self._topics.delete(topic)
        return _run(setting, NAIVE, lines, ended - began, before, after, usage, wrong)

    def peer(self, setting: Setting, peer: Peer) -> Run:
        """The whole export, which must be one file, through another program, up to its end."""
        topic = self._next_prefix()
        self._topics.create(topic, partitions=setting.partitions)
        with _simulator(setting) as simulator:
            export = simulator.add_export(ENTITY_TYPE)
            lines = simulator.lines()
            task = PeerTask(
                bootstrap_servers=self._servers,
                topic=topic,
                link=export["Files"][0]["Url"],
                compression=setting.compression,
                headers=_FIXED_HEADERS if setting.headers else {},
                id_prefix=f"{export['Id']}/0/",
            )
            simulator.hold_first_file()
            with self._process(*peer.command(task)) as process:
                _wait_for_first_file(simulator, process)
                before, began = process.cpu_seconds(), time.monotonic()
                simulator.release()
                usage = process.wait(_RUN_SECONDS)
                ended = time.monotonic()
                log = process.log_tail()
        wrong = f"exit code {usage.exit_code}: {log}" if usage.exit_code else self._wrong(topic, lines, setting)
        self._topics.delete(topic)
        return _run(setting, peer.name, lines, ended - began, before, usage.cpu_seconds, usage, wrong)

    def _next_prefix(self) -> str:
        self._runs += 1
        return f"benchmark-{self._runs}"

    def _process(self, *arguments: str) -> MeasuredProcess:
        return MeasuredProcess(*arguments, log=self._directory / f"run-{self._runs}.log", cpu=self._cpu)

    def _wrong(self, topic: str, expected: int, setting: Setting) -> str:
        counted = self._topics.counted(topic)
        if counted != {"records": expected, "bytes": expected * setting.line_bytes}:
            return f"{topic} holds {counted['records']:,} records of {expected:,}, {counted['bytes']:,} bytes"
        return ""


def _simulator(setting: Setting) -> SimulatorProcess:
    return SimulatorProcess(line_bytes=setting.line_bytes, export_bytes=setting.export_bytes, files=setting.files)


def _wait_for_first_file(simulator: SimulatorProcess, process: MeasuredProcess) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not simulator.file_is_held():
        if process.ended() or time.monotonic() > deadline:
            raise RuntimeError(f"no file was asked for:\n{process.log_tail()}")
        time.sleep(0.05)
    # It is at rest when what it did besides asking (heartbeats, logs) is done too.
    time.sleep(0.2)


def _run(
    setting: Setting, way: str, records: int, seconds: float, before: float, after: float, usage: Usage, wrong: str
) -> Run:
    return Run(
        line_bytes=setting.line_bytes,
        compression=setting.compression,
        headers=setting.headers,
        partitions=setting.partitions,
        way=way,
        records=records,
        seconds=seconds,
        cpu_seconds=after - before,
        startup_cpu_seconds=before,
        peak_bytes=usage.peak_bytes,
        wrong=wrong,
    )


def _config(bootstrap_servers: str, prefix: str, setting: Setting, daemon: Daemon, platform_url: str) -> str:
    """Everything that matters for speed and memory stays as it is by default."""
    return f"""
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
port = 0
[[connections]]
name = "{_CONNECTION}"
platform_url = "{platform_url}"
client_token = {{ env = "BENCHMARK_CLIENT_TOKEN" }}
access_token = {{ env = "BENCHMARK_ACCESS_TOKEN" }}
entity_types = ["{ENTITY_TYPE}"]
"""
