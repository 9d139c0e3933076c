"""Writes reservations to Parquet files by batches, exactly once, without any other store.

A file's name says which records are in it: ``3-1200-1850.parquet`` has those of partition 3 from offset 1200 up to, not
including, 1850. So the names tell where to read on, and a batch that a crash cut short leaves no file at all.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import duckdb
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

Row = tuple[str, int, str | None]


def current(folder: Path) -> str:
    """The query for the current state: each reservation's newest record, unless that is a tombstone."""
    return f"""
        SELECT id, entity FROM (
            SELECT id, entity, row_number() OVER (PARTITION BY id ORDER BY "offset" DESC) AS age
            FROM read_parquet('{folder}/*.parquet')
        ) WHERE age = 1 AND entity IS NOT NULL
    """  # noqa: S608 (a folder of our own)


def keep(bootstrap_servers: str, prefix: str, folder: Path, rows: int, seconds: float) -> None:
    topic = f"{prefix}.reservation"
    folder.mkdir(parents=True, exist_ok=True)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "unused",  # librdkafka asks for one, but nothing is committed to it
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    read_to = {partition: end for partition, _start, end in written(folder)}
    partitions = consumer.list_topics(topic, 30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, read_to.get(p, OFFSET_BEGINNING)) for p in partitions])
    batch: dict[int, list[Row]] = {}
    began = time.monotonic()
    while True:
        for message in consumer.consume(num_messages=1000, timeout=0.2):
            if error := message.error():
                raise KafkaException(error)
            value = message.value()
            row = ((message.key() or b"").decode(), message.offset() or 0, value.decode() if value else None)
            batch.setdefault(message.partition() or 0, []).append(row)
        if time.monotonic() - began >= seconds or sum(map(len, batch.values())) >= rows:
            for partition, records in batch.items():
                write(folder, partition, records)
            batch, began = {}, time.monotonic()


def written(folder: Path) -> list[tuple[int, int, int]]:
    """Partition, first offset and end of each file, by partition and offset."""
    places = []
    for file in folder.glob("*.parquet"):
        partition, start, end = map(int, file.stem.split("-"))
        places.append((partition, start, end))
    return sorted(places)


def write(folder: Path, partition: int, records: list[Row]) -> None:
    """One file, there as a whole or not at all."""
    fresh = folder / f"{partition}.fresh"
    with duckdb.connect() as database:
        database.execute('CREATE TABLE batch (id VARCHAR, "offset" BIGINT, entity VARCHAR)')
        database.executemany("INSERT INTO batch VALUES (?, ?, ?)", records)
        database.execute(f"COPY batch TO '{fresh}' (FORMAT parquet, COMPRESSION zstd)")
    os.replace(fresh, folder / f"{partition}-{records[0][1]}-{records[-1][1] + 1}.parquet")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--prefix", default="mews", help="where the names of the topics begin")
    parser.add_argument("--folder", type=Path, default=Path("reservations"))
    parser.add_argument("--rows", type=int, default=100_000, help="a batch is written at this size ...")
    parser.add_argument("--seconds", type=float, default=60.0, help="... or at this age")
    arguments = parser.parse_args()
    keep(arguments.bootstrap_servers, arguments.prefix, arguments.folder, arguments.rows, arguments.seconds)
