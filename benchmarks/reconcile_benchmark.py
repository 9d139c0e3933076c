"""Reads a topic of many entities back and compares as many lines with it; prints what each took, as a table.

Starts a real Apache Kafka and fills a topic with records as the daemon writes them (five headers, zstd), through
another client library. Every run is checked: each line must be a repeat, and nothing may be gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.reconcile_lines import PARTITIONS, TOPIC, headers_of, key_of, line_of
from streamer.core.partitioner import partition_of
from streamer.sandbox.local_kafka import LocalKafka

_FLUSH_EVERY = 100_000


def fill(bootstrap_servers: str, first: int, end: int) -> None:
    """Write the entities of these numbers, so many to a transaction."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "transactional.id": "reconcile-benchmark",
            "compression.type": "zstd",
            "compression.level": 1,
            "linger.ms": 50,
            "batch.size": 500_000,
            "queue.buffering.max.messages": 2 * _FLUSH_EVERY,
        }
    )
    producer.init_transactions(60)
    for start in range(first, end, _FLUSH_EVERY):
        producer.begin_transaction()
        for number in range(start, min(end, start + _FLUSH_EVERY)):
            key = key_of(number)
            partition = partition_of(key, PARTITIONS)
            producer.produce(TOPIC, line_of(number), key, partition=partition, headers=dict(headers_of(number)))
        producer.commit_transaction(60)


def measure(bootstrap_servers: str, entities: int) -> dict[str, Any]:
    """One run, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.reconcile_task", bootstrap_servers, str(entities)]
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
        f"{entities / run['compare_seconds']:,.0f}",
        f"{entities / run['compare_cpu_seconds']:,.0f}",
        f"{run['longest_compare_ms']:.0f} ms",
        f"{run['table_bytes'] / 1e6:.0f} MB",
        f"{run['peak_bytes'] / 1e6:.0f} MB",
    ]
    return f"| {' | '.join(cells)} |"


@click.command(help=__doc__)
@click.option("--entities", type=int, multiple=True, default=(1_000_000, 3_000_000, 10_000_000), show_default=True)
def main(entities: tuple[int, ...]) -> None:
    with tempfile.TemporaryDirectory() as directory, LocalKafka(Path(directory)) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(60)
        filled = 0
        print("| entities | read back/s | per CPU s | longest step | compared/s | per CPU s | longest step", end="")
        print(" | table | peak memory |")
        print("| -: | -: | -: | -: | -: | -: | -: | -: | -: |")
        for count in sorted(entities):
            fill(kafka.bootstrap_servers, filled, count)
            filled = count
            print(row(measure(kafka.bootstrap_servers, count)), flush=True)


if __name__ == "__main__":
    main()
