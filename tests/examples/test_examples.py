"""Every example ends with what the simulator has, although daemon and consumers are killed on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streamer.sandbox.local_kafka import LocalKafka
from tests.examples.consumers import (
    Consumer,
    State,
    entities_in,
    state_of_file,
    state_of_parquet,
    state_of_postgresql,
    state_of_sqlite,
)
from tests.postgresql import postgresql
from tests.proxy import commit_after_records_to
from tests.scene import Scene, is_done, staged

TYPE = "Reservation"


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql() as url:
        yield url


def consumers(kafka: LocalKafka, prefix: str, folder: Path, database: str) -> list[Consumer]:
    where = ("--bootstrap-servers", kafka.bootstrap_servers, "--prefix", prefix)
    table, early = folder / "table.jsonl", folder / "early.jsonl"
    sqlite, parquet = folder / "table.sqlite", folder / "parquet"
    return [
        Consumer(
            "aiokafka_table/table.py",
            *(*where, "--out", str(table)),
            log=folder / "aiokafka.log",
            state=lambda: state_of_file(table),
        ),
        Consumer(
            "confluent_sqlite/table.py",
            *(*where, "--database", str(sqlite)),
            log=folder / "sqlite.log",
            state=lambda: state_of_sqlite(sqlite),
        ),
        Consumer(
            "postgresql/sink.py",
            *(*where, "--database", database, "--group", prefix),
            log=folder / "postgresql.log",
            state=lambda: state_of_postgresql(database),
        ),
        Consumer(
            "duckdb_parquet/batches.py",
            *(*where, "--folder", str(parquet), "--rows", "300", "--seconds", "1"),
            log=folder / "duckdb.log",
            state=lambda: state_of_parquet(parquet),
        ),
        Consumer(
            "read_uncommitted/latest.py",
            *(*where, "--out", str(early)),
            log=folder / "uncommitted.log",
            state=lambda: state_of_file(early),
        ),
    ]


@contextlib.asynccontextmanager
async def started(chosen: list[Consumer]) -> AsyncIterator[None]:
    try:
        for consumer in chosen:
            consumer.start()
        yield
    finally:
        for consumer in chosen:
            consumer.kill()


def simulated(scene: Scene) -> State:
    (export,) = scene.exports()
    data = b"".join(piece for file in export.files for piece in file.read(0, file.size))
    return entities_in(data.split(b"\n")[:-1])


def bury(kafka: LocalKafka, topic: str, keys: list[str], export_id: str) -> None:
    """Tombstones as streamer writes them; murmur2 is its partitioner, and Java's."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "partitioner": "murmur2"})
    for key in keys:
        headers = [("ce_specversion", b"1.0"), ("ce_id", f"{export_id}/gone/{key}".encode())]
        producer.produce(topic, key=key, value=None, headers=headers)  # type: ignore[arg-type]
    assert producer.flush(30) == 0


async def test_examples_end_with_what_the_simulator_has(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, database: str
) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        # Killed with records sent and not committed: whoever reads those early will see them twice.
        trap = scene.proxy.hold(commit_after_records_to(scene.topic(TYPE), skip=1))
        daemon = await scene.start()
        await trap.held()
        chosen = consumers(local_kafka, prefix, tmp_path, database)
        table, *others = chosen
        async with started(chosen):
            for consumer in others:
                await consumer.until(bool, "should have begun")
            assert table.state() == {}, "the first load can't be whole yet"
            for consumer in chosen:
                consumer.kill()
            await scene.kill(daemon)
            daemon = await scene.start()
            await daemon.until(lambda rows: is_done(rows[scene.stream()]), "the export was complete")
            for consumer in chosen:
                consumer.start()
            expected = simulated(scene)
            await asyncio.gather(*(c.until(lambda s: s == expected, "should have all there is") for c in chosen))
            assert f"the first load is whole: {len(expected)}" in table.said()

            gone = sorted(expected)[:7]
            bury(local_kafka, scene.topic(TYPE), gone, scene.exports()[0].id)
            left = {id_: entity for id_, entity in expected.items() if id_ not in gone}
            await asyncio.gather(*(c.until(lambda s: s == left, "should have heard who is gone") for c in chosen))
        early = chosen[-1].said().splitlines()[-1]
        assert " 0 repeats dropped" not in early
