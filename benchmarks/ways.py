"""The ways to publish an export, each as one measured run that begins with the first file.

All are held at their first request for a file. What has been used by then is start-up (imports, connections, topics,
joining the group) and does not count; then the file is let go, and the clocks run until everything is acknowledged.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.connect import Connect
from benchmarks.daemons import Daemon, DaemonProcess, daemon_configuration
from benchmarks.file_host import FileHost
from benchmarks.kafka import Topics
from benchmarks.measured import MeasuredProcess, Usage, stolen_seconds
from benchmarks.peer_task import PeerTask
from benchmarks.peers import Peer
from benchmarks.runs import CONNECTION, ENTITY_TYPES, Run, Setting
from benchmarks.sandbox import SimulatorProcess
from benchmarks.sleeper import Sleeper
from streamer.model import EntityType
from streamer.sandbox.local_kafka import LocalKafka

_FIXED_HEADERS = {
    "ce_specversion": "1.0",
    "ce_source": f"/mews/{CONNECTION}",
    "ce_type": f"com.mews.{ENTITY_TYPES[0]}",
    "content-type": "application/json",
}
"""With ``ce_id`` the five that the daemon writes."""
_RUN_SECONDS = 1_800.0
_CLEAR_SECONDS = 60.0
_REST_SECONDS = 0.2
"""What is held is at rest when what it did besides asking (heartbeats, logs) is done too."""


class Runner:
    """Makes runs on one broker, one after another. Measured processes are kept on the ``cpus``, in turn, if any.

    Without a ``host`` the simulator serves the files itself.
    """

    def __init__(
        self, kafka: LocalKafka, directory: Path, *, cpus: Sequence[int], host: FileHost | None = None
    ) -> None:
        self._servers = kafka.bootstrap_servers
        self._kafka_data = kafka.directory / "data"
        self._directory = directory
        self._cpus = cpus
        self._host = host
        self._topics = Topics(kafka.bootstrap_servers)
        self._runs = 0

    def daemon(self, setting: Setting, daemon: Daemon) -> Run:
        """Whole exports through `streamer run`, up to the commit of the last ``export_completed``."""
        prefix = self._next_prefix()
        with ExitStack() as stack:
            link = self._link(setting)
            simulator = stack.enter_context(_simulator(setting))
            simulator.hold_files(link)
            alone = daemon.processes == 1 and self._cpus
            sleeper = stack.enter_context(Sleeper(self._cpus[0])) if alone else None
            processes = []
            for number in range(daemon.processes):
                config = self._directory / f"{prefix}-{number}.toml"
                port, text = daemon_configuration(self._servers, prefix, setting, daemon, simulator.url)
                config.write_text(text)
                process = self._process(DaemonProcess.command(daemon, config), number)
                processes.append(DaemonProcess(stack.enter_context(process), port, config))
            if daemon.processes > 1:
                self._topics.wait_for_members(f"{prefix}.streamer", daemon.processes)
            measured = [process.measured for process in processes]
            simulator.wait_for_held(daemon.streams, lambda: measured)
            for number in range(daemon.exports_before):
                simulator.release(link)
                self._wait_for_exports(prefix, (number + 1) * daemon.streams, measured)
                simulator.hold_files(link)
                processes[0].ask_for_snapshots()
                simulator.wait_for_held(daemon.streams, lambda: measured)
            time.sleep(_REST_SECONDS)
            before = [process.reading_before() for process in processes]
            stolen = stolen_seconds()
            if sleeper is not None:
                sleeper.latest()
            began = time.monotonic()
            simulator.release(link)
            completed = self._wait_for_exports(prefix, (daemon.exports_before + 1) * daemon.streams, measured)
            after = [process.reading_after() for process in processes]
            stolen = stolen_seconds() - stolen
            slept = sleeper.latest() if sleeper is not None else None
            usages = [process.measured.end() for process in processes]
        wrong = [f"a daemon left with exit code {usage.exit_code}" for usage in usages if usage.exit_code]
        for event, _ in completed:
            if event["records"] != setting.lines:
                wrong.append(f"export_completed says {event['records']:,} records instead of {setting.lines:,}")
        for name in ENTITY_TYPES[: daemon.streams]:
            lines = setting.lines * (daemon.exports_before + 1)
            wrong.append(self._wrong(f"{prefix}.{EntityType(name).slug}", lines, setting))
        self._clear(prefix)
        ends = [seen_at - began for _, seen_at in completed[-daemon.streams :]]
        return Run(
            **setting.told(),
            way=daemon.name,
            streams=daemon.streams,
            processes=daemon.processes,
            records=setting.lines * daemon.streams,
            seconds=max(ends),
            first_seconds=min(ends),
            cpu_seconds=sum(late.cpu_seconds - early.cpu_seconds for early, late in zip(before, after, strict=True)),
            startup_cpu_seconds=sum(reading.cpu_seconds for reading in before),
            peak_bytes=max(usage.peak_bytes for usage in usages),
            late_seconds=max(late.latest_since(early) for early, late in zip(before, after, strict=True)),
            waited_seconds=max(
                late.waited_seconds - early.waited_seconds for early, late in zip(before, after, strict=True)
            ),
            stolen_seconds=stolen,
            sleeper_late_seconds=slept,
            wrong="; ".join(filter(None, wrong)),
        )

    def _wait_for_exports(
        self, prefix: str, count: int, processes: Sequence[MeasuredProcess]
    ) -> list[tuple[dict[str, Any], float]]:
        """Until so many have been completed, with when each was seen to be."""
        return self._topics.wait_for_events(
            f"{prefix}.exports",
            "export_completed",
            count=count,
            seconds=_RUN_SECONDS,
            give_up=lambda: any(process.ended() for process in processes),
        )

    def peer(self, setting: Setting, peer: Peer) -> Run:
        """The whole export, which must be one file, or its first lines, through another program, up to its end."""
        topic = self._next_prefix()
        self._topics.create(topic, partitions=setting.partitions)
        self._topics.create(f"{topic}-checkpoints", partitions=1)
        with _simulator(setting) as simulator:
            export = simulator.add_export(ENTITY_TYPES[0])
            lines = min(setting.lines, peer.most_lines or setting.lines)
            task = PeerTask(
                bootstrap_servers=self._servers,
                topic=topic,
                link=export["Files"][0]["Url"],
                compression=setting.compression,
                headers=_FIXED_HEADERS if setting.headers else {},
                id_prefix=f"{export['Id']}/0/",
                lines=lines,
            )
            link = self._link(setting)
            simulator.hold_files(link)
            with self._process(peer.command(task)) as process:
                simulator.wait_for_held(1, lambda: [process])
                time.sleep(_REST_SECONDS)
                before, began = process.cpu_seconds(), time.monotonic()
                simulator.release(link)
                usage = process.wait(_RUN_SECONDS)
                ended = time.monotonic()
                log = process.log_tail()
        wrong = f"exit code {usage.exit_code}: {log}" if usage.exit_code else self._wrong(topic, lines, setting)
        self._clear(topic)
        return _run(setting, peer.name, lines, ended - began, before, usage.cpu_seconds, usage, wrong)

    def connect(self, setting: Setting, connect: Connect) -> Run:
        """A file of this disk through Kafka Connect, from the order to read it on until all of it can be read."""
        if self._host is None:
            raise RuntimeError("the file for Connect is made by the file host")
        topic = self._next_prefix()
        self._topics.create(topic, partitions=setting.partitions)
        path = self._host.path(setting.line_bytes, setting.file_bytes)
        lines = setting.lines
        with self._process(connect.command(self._servers, topic, setting.compression, self._directory)) as process:
            connect.wait_until_up(process)
            before, began = process.cpu_seconds(), time.monotonic()
            connect.order(topic, path)
            ended = self._topics.wait_for_records(topic, lines, seconds=_RUN_SECONDS, give_up=process.ended)
            after = process.cpu_seconds()
            usage = process.end()
        wrong = self._wrong(topic, lines, setting)
        self._clear(topic)
        return _run(setting, connect.name, lines, ended - began, before, after, usage, wrong)

    def _clear(self, prefix: str) -> None:
        """Delete its topics, and wait until the disk is done with them: it would be in the way of the next run."""
        self._topics.delete(prefix)
        deadline = time.monotonic() + _CLEAR_SECONDS
        while any(self._kafka_data.glob(f"{prefix}*")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the broker does not drop the files of {prefix}")
            time.sleep(0.1)
        os.sync()

    def _link(self, setting: Setting) -> str | None:
        """Where the bytes come from instead of the simulator: one file stands for all, since they are of one size."""
        return None if self._host is None else self._host.link(setting.line_bytes, setting.file_bytes)

    def _next_prefix(self) -> str:
        self._runs += 1
        return f"benchmark-{self._runs}"

    def _process(self, command: Sequence[str], number: int = 0) -> MeasuredProcess:
        cpu = self._cpus[number % len(self._cpus)] if self._cpus else None
        return MeasuredProcess(*command, log=self._directory / f"run-{self._runs}-{number}.log", cpu=cpu)

    def _wrong(self, topic: str, expected: int, setting: Setting) -> str:
        counted = self._topics.counted(topic)
        if counted != {"records": expected, "bytes": expected * setting.line_bytes}:
            return f"{topic} holds {counted['records']:,} records of {expected:,}, {counted['bytes']:,} bytes"
        return ""


def _simulator(setting: Setting) -> SimulatorProcess:
    export_bytes = setting.file_bytes * setting.files
    return SimulatorProcess(line_bytes=setting.line_bytes, export_bytes=export_bytes, files=setting.files)


def _run(
    setting: Setting, way: str, records: int, seconds: float, before: float, after: float, usage: Usage, wrong: str
) -> Run:
    return Run(
        **setting.told(),
        way=way,
        records=records,
        seconds=seconds,
        cpu_seconds=after - before,
        startup_cpu_seconds=before,
        peak_bytes=usage.peak_bytes,
        wrong=wrong,
    )
