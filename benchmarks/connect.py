"""Kafka Connect with its FileStream source and exactly-once support, as a worker of its own.

It reads a file of this disk, and so spares itself HTTP; it has no keys, because nothing that it brings parses a line.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from importlib.resources import files
from pathlib import Path

import msgspec

from benchmarks.measured import MeasuredProcess
from streamer.sandbox.kafka_jars import Jar, KafkaProgram, fetch_program
from streamer.sandbox.kafka_ports import free_port

_START_SECONDS = 120.0
_WORKER = """
bootstrap.servers={servers}
group.id={topic}-connect
config.storage.topic={topic}-connect-config
offset.storage.topic={topic}-connect-offset
status.storage.topic={topic}-connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
exactly.once.source.support=enabled
connector.client.config.override.policy=All
listeners=http://127.0.0.1:{port}
producer.compression.type={compression}
"""
_CONNECTOR = {
    "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
    "tasks.max": "1",
    "batch.size": "2000",
    "exactly.once.support": "required",
    "producer.override.linger.ms": "20",
    "producer.override.batch.size": "262144",
    "producer.override.buffer.memory": "134217728",
}


class Connect:
    """The worker. ``interval`` commits every two seconds instead of at every 2,000 lines."""

    def __init__(self, name: str, *, interval: bool) -> None:
        self.name = name
        self._boundary = (
            {"transaction.boundary": "interval", "transaction.boundary.interval.ms": "2000"}
            if interval
            else {"transaction.boundary": "poll"}
        )
        self._port = 0

    def command(self, servers: str, topic: str, compression: str, directory: Path) -> list[str]:
        """What starts it."""
        self._port = free_port()
        settings = directory / f"{topic}-worker.properties"
        settings.write_text(_WORKER.format(servers=servers, topic=topic, compression=compression, port=self._port))
        return connect_program().command(
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(settings),
            options=("-Xms256m", "-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"),
        )

    def wait_until_up(self, process: MeasuredProcess) -> None:
        """Until it can be given orders. Raises ``RuntimeError``."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if process.ended() or time.monotonic() > deadline:
                raise RuntimeError(f"Kafka Connect does not start:\n{process.log_tail()}")
            time.sleep(0.1)

    def order(self, topic: str, path: Path) -> None:
        """Have the file read into the topic."""
        connector = _CONNECTOR | self._boundary | {"file": str(path), "topic": topic}
        self._ask("POST", "/connectors", {"name": "file", "config": connector})

    def _answers(self) -> bool:
        try:
            self._ask("GET", "/connectors")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def _ask(self, method: str, path: str, body: object = None) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=90) as answer:  # noqa: S310
            answer.read()


def connect_program() -> KafkaProgram:
    """Kafka Connect and Java, fetched where they are missing, and checked."""
    pins = files("benchmarks").joinpath("connect-jars.json").read_bytes()
    return fetch_program(msgspec.json.decode(pins, type=tuple[Jar, ...]))
