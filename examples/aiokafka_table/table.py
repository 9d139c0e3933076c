"""Keeps a table of all reservations in memory, and says when its first load is whole.

The topic is the store: after a restart the table is read from its beginning again, which takes as long as there are
reservations, not as long as there has been history, because the topic is compacted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

Ends = dict[TopicPartition, int]


def first_load(events: dict[str, bytes], topic: str) -> Ends | None:
    """How far to read before the newest complete snapshot of every stream of the topic is in; None before there is one.

    ``events`` is the newest ``export_completed`` of a snapshot for each stream, by its key.
    """
    ends: Ends = {}
    for value in events.values():
        for partition, part in json.loads(value)["partitions"].items():
            place = TopicPartition(topic, int(partition))
            ends[place] = max(ends.get(place, 0), part["end"])
    return ends if events else None


class Table:
    """The reservations by key, and what was told of snapshots of their topic."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.rows: dict[bytes, bytes] = {}
        self.snapshots: dict[str, bytes] = {}

    def take(self, record: Any) -> None:
        if record.topic != self.topic:
            event = json.loads(record.value)
            if (event["event"], event.get("kind"), event.get("topic")) == ("export_completed", "snapshot", self.topic):
                self.snapshots[record.key.decode()] = record.value
        elif record.value is None:  # a tombstone: the reservation is gone
            self.rows.pop(record.key, None)
        else:
            self.rows[record.key] = record.value


async def keep(bootstrap_servers: str, prefix: str, out: Path | None) -> None:
    topic, exports = f"{prefix}.reservation", f"{prefix}.exports"
    table, whole = Table(topic), False
    async with AIOKafkaConsumer(
        topic,
        exports,
        bootstrap_servers=bootstrap_servers,
        group_id=None,  # alone: all partitions, from the beginning each time
        isolation_level="read_committed",  # without it, records of aborted transactions come too
        auto_offset_reset="earliest",
    ) as consumer:
        while True:
            batches = await consumer.getmany(timeout_ms=200)
            for records in batches.values():
                for record in records:
                    table.take(record)
            was_whole, ends = whole, first_load(table.snapshots, topic)
            if not whole and ends is not None:
                whole = all([await consumer.position(place) >= end for place, end in ends.items()])
            if whole and not was_whole:
                print(f"the first load is whole: {len(table.rows)} reservations", flush=True)
            if whole and out is not None and (batches or not was_whole):
                write(out, table.rows)


def write(out: Path, rows: dict[bytes, bytes]) -> None:
    """The table as lines of JSON. Readers see the old file or the new one, never half of it."""
    fresh = out.with_suffix(".fresh")
    fresh.write_bytes(b"".join(value + b"\n" for value in rows.values()))
    os.replace(fresh, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--prefix", default="mews", help="where the names of the topics begin")
    parser.add_argument("--out", type=Path, help="write the table here whenever it has changed")
    arguments = parser.parse_args()
    asyncio.run(keep(arguments.bootstrap_servers, arguments.prefix, arguments.out))
