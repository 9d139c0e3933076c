"""Keeps a table of all reservations in SQLite, exactly once: offsets are written in the same transaction as rows.

There is no consumer group. Where to read on is known to the database alone, so a crash between two commits loses
nothing and repeats nothing.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

TABLES = """
CREATE TABLE IF NOT EXISTS reservation (id TEXT PRIMARY KEY, state TEXT, updated_utc TEXT, json BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS read_to (partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL);
"""


def keep(bootstrap_servers: str, prefix: str, file: Path) -> None:
    topic = f"{prefix}.reservation"
    database = sqlite3.connect(file)
    database.executescript(TABLES)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "unused",  # librdkafka asks for one, but nothing is committed to it
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    read_to = dict(database.execute("SELECT partition, next_offset FROM read_to"))
    partitions = consumer.list_topics(topic, 30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, read_to.get(p, OFFSET_BEGINNING)) for p in partitions])
    while True:
        messages = consumer.consume(num_messages=1000, timeout=0.5)
        with database:  # one transaction
            for message in messages:
                if error := message.error():
                    raise KafkaException(error)
                apply(database, message.key() or b"", message.value())
                database.execute(
                    "INSERT OR REPLACE INTO read_to VALUES (?, ?)", (message.partition(), (message.offset() or 0) + 1)
                )


def apply(database: sqlite3.Connection, key: bytes, value: bytes | None) -> None:
    if value is None:  # a tombstone: the reservation is gone
        database.execute("DELETE FROM reservation WHERE id = ?", (key.decode(),))
        return
    entity = json.loads(value)
    database.execute(
        "INSERT OR REPLACE INTO reservation VALUES (?, ?, ?, ?)",
        (key.decode(), entity.get("State"), entity.get("UpdatedUtc"), value),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--prefix", default="mews", help="where the names of the topics begin")
    parser.add_argument("--database", type=Path, default=Path("reservations.sqlite"))
    arguments = parser.parse_args()
    keep(arguments.bootstrap_servers, arguments.prefix, arguments.database)
