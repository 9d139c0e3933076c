"""Keeps a table of all reservations in PostgreSQL: upsert by Id, delete by tombstone, versioned by UpdatedUtc.

The consumer group keeps the offsets and is committed to after the database. After a crash some records come again; that
changes nothing, as they come in the same order, and an older version never replaces a newer one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import psycopg
from confluent_kafka import Consumer, KafkaException, Message
from psycopg.types.json import Jsonb

TABLE = """
CREATE TABLE IF NOT EXISTS reservation (
    id uuid PRIMARY KEY,
    state text,
    scheduled_start_utc timestamptz,
    scheduled_end_utc timestamptz,
    updated_utc timestamptz,
    entity jsonb NOT NULL
)
"""
UPSERT = """
INSERT INTO reservation VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state,
    scheduled_start_utc = excluded.scheduled_start_utc,
    scheduled_end_utc = excluded.scheduled_end_utc,
    updated_utc = excluded.updated_utc,
    entity = excluded.entity
WHERE reservation.updated_utc IS NULL OR excluded.updated_utc >= reservation.updated_utc
"""
DELETE = "DELETE FROM reservation WHERE id = %s"


def keep(bootstrap_servers: str, prefix: str, database: str, group: str) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
        }
    )
    consumer.subscribe([f"{prefix}.reservation"])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLE)
        while True:
            messages = consumer.consume(num_messages=1000, timeout=0.5)
            if messages:
                with connection.transaction():
                    apply(connection, messages)
                consumer.commit(asynchronous=False)


def apply(connection: psycopg.Connection, messages: Sequence[Message]) -> None:
    for message in messages:
        if error := message.error():
            raise KafkaException(error)
        key, value = (message.key() or b"").decode(), message.value()
        if value is None:  # a tombstone: the reservation is gone
            connection.execute(DELETE, (key,))
            continue
        entity = json.loads(value)
        row = (
            key,
            entity.get("State"),
            entity.get("ScheduledStartUtc"),
            entity.get("ScheduledEndUtc"),
            entity.get("UpdatedUtc"),
            Jsonb(entity),
        )
        connection.execute(UPSERT, row)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--prefix", default="mews", help="where the names of the topics begin")
    parser.add_argument("--database", default="postgresql://localhost/hotel")
    parser.add_argument("--group", default="reservations-in-postgresql", help="the consumer group")
    arguments = parser.parse_args()
    keep(arguments.bootstrap_servers, arguments.prefix, arguments.database, arguments.group)
