"""The real Kafka Connect, from the jars of its release, with the example's settings and addresses of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from benchmarks.connect import connect_program
from streamer.sandbox.kafka_ports import HOST, free_port
from tests.archives import Archive, unpacked
from tests.daemon import ROOT

EXAMPLE = ROOT / "examples" / "kafka_connect"
DEBEZIUM = Archive(
    group="io.debezium",
    name="debezium-connector-jdbc",
    version="3.4.0.Final",
    classifier="plugin",
    sha256="80f456b94f836f24f36e916f91f213b3ba42f1b22a6ab1a89aaa6366eecd87f0",
)


def connect_command(bootstrap_servers: str, prefix: str, database: str, folder: Path) -> list[str]:
    """What ``connect-standalone.sh worker.properties reservations.properties`` runs, the table being there.

    In a database of its own, ``database``, as another example has a table of the same name as the view.
    """
    with psycopg.connect(database) as connection:
        connection.execute((EXAMPLE / "table.sql").read_bytes())
    place = urlsplit(database)
    worker = {
        "bootstrap.servers": bootstrap_servers,
        "listeners": f"http://{HOST}:{free_port()}",
        "plugin.path": str(unpacked(DEBEZIUM)),
        "offset.storage.file.filename": str(folder / "connect.offsets"),
    }
    sink = {
        "name": prefix,  # the group's name is made of it
        "topics": f"{prefix}.reservation",
        "connection.url": f"jdbc:postgresql://{place.hostname}:{place.port}{place.path}?stringtype=unspecified",
        "connection.username": str(place.username),
    }
    settings = [_with("worker.properties", worker, folder), _with("reservations.properties", sink, folder)]
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    options = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", quiet)
    return connect_program().command("org.apache.kafka.connect.cli.ConnectStandalone", *settings, options=options)


def _with(name: str, changed: Mapping[str, str], folder: Path) -> str:
    """The file of the example with other values for some of its keys; the path of the copy."""
    text = (EXAMPLE / name).read_text()
    lines = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert changed.keys() <= lines.keys(), f"{name} has no such keys"
    copy = folder / name
    copy.write_text("".join(f"{key}={value}\n" for key, value in {**lines, **changed}.items()))
    return str(copy)
