"""Reads a topic of many entities back and compares as many lines with it; prints what each took, as a table.

Starts a real Apache Kafka and fills a topic as the daemon does (five headers, zstd, transactions). Every run is
checked: each line must be a repeat, and nothing may be gone.

With a directory the topic is kept, and gone on with: filling it for many millions may be spread over several calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.reconcile_fill import fill
from benchmarks.reconcile_lines import PARTITIONS, TOPIC
from streamer.sandbox.local_kafka import LocalKafka

_READ = ("entities", "read back/s", "per CPU s", "longest wait", "longest step")
_COMPARED = ("compared/s", "per CPU s", "longest step", "table", "peak")
HEAD = ("| " + " | ".join((*_READ, *_COMPARED)) + " |", "|" + " -: |" * len((*_READ, *_COMPARED)))
_AT_ONCE = 500_000


def measure(bootstrap_servers: str, entities: int, kernel: str) -> dict[str, Any]:
    """One run, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.reconcile_task", bootstrap_servers, str(entities), kernel]
    run: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    expected = {"entities": entities, "records": entities, "unchanged": entities, "gone": 0}
    if (found := {name: run[name] for name in expected}) != expected:
        raise SystemExit(f"wrong: {found} instead of {expected}")
    return run


def row(run: dict[str, Any]) -> str:
    """A row of the table."""
    entities = run["entities"]
    cells = [
        f"{entities:,}",
        f"{entities / run['read_seconds']:,.0f}",
        f"{entities / run['read_cpu_seconds']:,.0f}",
        f"{run['longest_read_ms']:.0f} ms",
        f"{run['longest_busy_read_ms']:.0f} ms",
        f"{entities / run['compare_seconds']:,.0f}",
        f"{entities / run['compare_cpu_seconds']:,.0f}",
        f"{run['longest_compare_ms']:.0f} ms",
        f"{run['table_bytes'] / 1e6:.0f} MB",
        f"{run['peak_bytes'] / 1e6:.0f} MB",
    ]
    return f"| {' | '.join(cells)} |"


class Topic:
    """The topic, and how many entities are in it: noted down beside the data."""

    def __init__(self, directory: Path, bootstrap_servers: str) -> None:
        self._note = directory / "entities"
        self._bootstrap_servers = bootstrap_servers
        if self._note.exists():
            return
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(60)
        self._note.write_text("0")

    def fill(self, entities: int) -> None:
        """Publish what is missing."""
        while (there := int(self._note.read_text())) < entities:
            more = min(entities, there + _AT_ONCE)
            fill(self._bootstrap_servers, there, more)
            self._note.write_text(str(more))


@click.command(help=__doc__)
@click.option("--entities", type=int, multiple=True, default=(1_000_000, 3_000_000, 10_000_000), show_default=True)
@click.option("--directory", type=click.Path(path_type=Path), help="Where the broker's data are kept.")
@click.option("--kernel", type=click.Choice(("auto", "off")), default="auto", help="How the topic is read back.")
@click.option("--fill-only", is_flag=True, help="Measure nothing.")
def main(entities: tuple[int, ...], directory: Path | None, kernel: str, fill_only: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        data = directory or Path(temporary)
        with LocalKafka(data) as kafka:
            topic = Topic(data, kafka.bootstrap_servers)
            if not fill_only:
                print("\n".join(HEAD))
            for count in sorted(entities):
                topic.fill(count)
                if not fill_only:
                    print(row(measure(kafka.bootstrap_servers, count, kernel)), flush=True)


if __name__ == "__main__":
    main()
