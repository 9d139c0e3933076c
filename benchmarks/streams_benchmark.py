"""Hundreds of streams in one process, all with a first snapshot to publish; prints what that does to the probes.

Starts a real Apache Kafka, the simulator and one daemon. Beside it a process asks for ``/livez``, ``/readyz`` and
``/metrics`` all the time. The run is checked: each stream completes one export, and each line is one committed record.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from benchmarks.kafka import Topics
from benchmarks.measured import MeasuredProcess, Usage
from benchmarks.probed import PATHS, ask
from benchmarks.sandbox import SimulatorProcess
from streamer.model import PUBLIC_ENTITY_TYPES
from streamer.sandbox.kafka_ports import free_port
from streamer.sandbox.local_kafka import LocalKafka

PREFIX = "streams"
LINE_BYTES = 430
_PAUSE_SECONDS = 0.05
_LISTENING_SECONDS = 60.0


def token_of(connection: int) -> str:
    """The simulator accepts it."""
    return f"access-{connection}"


def settings(bootstrap_servers: str, url: str, connections: int, partitions: int, port: int) -> str:
    """The daemon's, with nine streams to a connection."""
    head = f"""
[kafka]
bootstrap_servers = ["{bootstrap_servers}"]
[topics]
prefix = "{PREFIX}"
partitions = {partitions}
[exports]
update_interval = "off"
poll_interval = "1s"
[http]
host = "127.0.0.1"
port = {port}
"""
    block = """
[[connections]]
name = "hotel-{n}"
platform_url = "{url}"
client_token = {{ env = "BENCHMARK_CLIENT_TOKEN" }}
access_token = {{ file = "{n}.token" }}
"""
    return head + "".join(block.format(n=n, url=url) for n in range(connections))


def wait_until_listening(url: str, daemon: MeasuredProcess) -> None:
    """Until its probes answer."""
    deadline = time.monotonic() + _LISTENING_SECONDS
    while time.monotonic() < deadline and not daemon.ended():
        try:
            ask(urlsplit(url).netloc, "/livez")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the daemon does not listen:\n{daemon.log_tail()}")


def table(took: dict[str, list[float]]) -> str:
    """Of each path: how many answers, and how long they took."""
    rows = ["| probe | answers | median | 99 of 100 | worst |", "| --- | -: | -: | -: | -: |"]
    for path in PATHS:
        times = sorted(took[path])
        late = times[int(len(times) * 0.99)]
        rows.append(
            f"| `{path}` | {len(times):,} | {statistics.median(times):.0f} ms | {late:.0f} ms | {times[-1]:.0f} ms |"
        )
    return "\n".join(rows)


@click.command(help=__doc__)
@click.option("--connections", default=23, show_default=True, help="Of nine streams each.")
@click.option("--entities", default=5_000, show_default=True, help="Lines of an export.")
@click.option("--partitions", default=4, show_default=True, help="Of a topic.")
@click.option("--seconds", default=480.0, show_default=True, help="Give up after so long.")
def main(connections: int, entities: int, partitions: int, seconds: float) -> None:
    streams, port = connections * len(PUBLIC_ENTITY_TYPES), free_port()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tokens = [token_of(n) for n in range(connections)]
        for n, token in enumerate(tokens):
            (directory / f"{n}.token").write_text(token)
        simulator = SimulatorProcess(
            line_bytes=LINE_BYTES,
            export_bytes=entities * (LINE_BYTES + 1),
            files=3,
            access_tokens=tokens,
            phase_seconds=0.5,
        )
        with LocalKafka(directory / "kafka") as kafka, simulator:
            config = directory / "streamer.toml"
            config.write_text(settings(kafka.bootstrap_servers, simulator.url, connections, partitions, port))
            topics = Topics(kafka.bootstrap_servers)
            usage, wall, records, probed = run(topics, config, f"http://127.0.0.1:{port}", streams, seconds)
            seen = sum(topics.counted(f"{PREFIX}.{kind.slug}")["records"] for kind in PUBLIC_ENTITY_TYPES)
    if not seen == records == streams * entities:
        raise SystemExit(f"wrong: {seen:,} records, {records:,} told, {streams * entities:,} lines")
    print(f"{streams} streams, {records:,} records in {wall:.0f} s, each there once; {usage.cpu_seconds:.0f} s CPU,")
    print(f"peak memory {usage.peak_bytes / 1e6:.0f} MB, producers replaced: {probed['restarts']:g},", end=" ")
    print(f"the loop at most {probed['loop_delay'] * 1000:.0f} ms late\n")
    print(table(probed["took"]))


def run(
    topics: Topics, config: Path, url: str, streams: int, seconds: float
) -> tuple[Usage, float, int, dict[str, Any]]:
    """One daemon from its start until all streams have completed: also the seconds, the records, and the answers."""
    command = (sys.executable, "-m", "streamer", "run", "--config", str(config))
    with MeasuredProcess(*command, log=config.with_suffix(".log")) as daemon:
        wait_until_listening(url, daemon)
        started = time.monotonic()
        prober = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.probed", url, str(_PAUSE_SECONDS)], stdout=subprocess.PIPE, text=True
        )
        try:
            completed = topics.wait_for_events(
                f"{PREFIX}.exports", "export_completed", count=streams, seconds=seconds, give_up=daemon.ended
            )
            wall = time.monotonic() - started
        except TimeoutError as error:
            raise RuntimeError(f"{error}:\n{daemon.log_tail()}") from error
        finally:
            prober.terminate()
            answered, _ = prober.communicate()
        records = {(event["connection"], event["entity_type"]): event["records"] for event, _ in completed}
        if len(records) < streams:
            raise RuntimeError("a stream has completed twice")
        return daemon.end(), wall, sum(records.values()), json.loads(answered)


if __name__ == "__main__":
    main()
