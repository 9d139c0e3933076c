"""Every example ends with what the simulator has, although daemon and consumers are killed on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from streamer.sandbox.local_kafka import LocalKafka
from tests.daemon import Daemon
from tests.examples.connect import connect_command
from tests.examples.consumers import (
    Consumer,
    State,
    entities_in,
    program,
    state_of_file,
    state_of_parquet,
    state_of_postgresql,
    state_of_sqlite,
)
from tests.postgresql import postgresql
from tests.proxy import commit_after_records_to, commit_after_tombstones_to
from tests.scene import Scene, is_done, staged

TYPE = "Reservation"
START = datetime(2026, 3, 1, tzinfo=UTC)
MOVING: dict[str, Any] = {
    "entities": 1500,
    "moving": True,
    "start": START,
    "speed": 0.0,
    "mortal_share": 0.5,
    "late_share": 0.0,
    "cycle_seconds": 20 * 86_400,
}
SETTINGS: dict[str, Any] = {"snapshot_interval": "7d", "max_tombstone_share": 1.0, "transaction_bytes": 60_000}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql() as url:
        yield url


def consumers(kafka: LocalKafka, prefix: str, folder: Path, database: str) -> list[Consumer]:
    where = ("--bootstrap-servers", kafka.bootstrap_servers, "--prefix", prefix)
    table, early = folder / "table.jsonl", folder / "early.jsonl"
    sqlite, parquet = folder / "table.sqlite", folder / "parquet"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE DATABASE connect")
    connect = database.replace("/postgres", "/connect")
    by_group = ("--database", database, "--group", prefix)
    batches = ("--folder", str(parquet), "--rows", "300", "--seconds", "1")
    commands = {
        "aiokafka_table": program("aiokafka_table", "table.py", *where, "--out", str(table)),
        "confluent_sqlite": program("confluent_sqlite", "table.py", *where, "--database", str(sqlite)),
        "postgresql": program("postgresql", "sink.py", *where, *by_group),
        "duckdb_parquet": program("duckdb_parquet", "batches.py", *where, *batches),
        "kafka_connect": connect_command(kafka.bootstrap_servers, prefix, connect, folder),
        "read_uncommitted": program("read_uncommitted", "latest.py", *where, "--out", str(early)),
    }
    states = {
        "aiokafka_table": lambda: state_of_file(table),
        "confluent_sqlite": lambda: state_of_sqlite(sqlite),
        "postgresql": lambda: state_of_postgresql(database),
        "duckdb_parquet": lambda: state_of_parquet(parquet),
        "kafka_connect": lambda: state_of_postgresql(connect),
        "read_uncommitted": lambda: state_of_file(early),
    }
    return [
        Consumer(name, command, log=folder / f"{name}.log", state=states[name]) for name, command in commands.items()
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


async def kill_all(scene: Scene, daemon: Daemon, chosen: list[Consumer]) -> None:
    for consumer in chosen:
        consumer.kill()
    await scene.kill(daemon)


async def all_have(chosen: list[Consumer], expected: State, what: str) -> None:
    await asyncio.gather(*(consumer.until(lambda state: state == expected, what) for consumer in chosen))


def truth(scene: Scene) -> State:
    return entities_in(list(scene.simulator.truth(TYPE, token=0)))


async def test_examples_end_with_what_the_simulator_has(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the proxy can see what is in a batch.
    monkeypatch.setenv("STREAMER_KAFKA_COMPRESSION", "none")
    async with staged(local_kafka, prefix, tmp_path, simulated=MOVING, **SETTINGS) as scene:
        # Killed with records sent and not committed: whoever reads those early will see them twice.
        trap = scene.proxy.hold(commit_after_records_to(scene.topic(TYPE), skip=1))
        daemon = await scene.start()
        await trap.held()
        chosen = consumers(local_kafka, prefix, tmp_path, database)
        table, *others = quick = [consumer for consumer in chosen if consumer.name != "kafka_connect"]
        async with started(chosen):
            for consumer in others:
                await consumer.until(bool, "should have begun")
            assert table.state() == {}, "the first load can't be whole yet"
            # Kafka Connect is killed later: it takes longer to start than a transaction may stay open.
            await kill_all(scene, daemon, quick)
            daemon = await scene.start()
            await daemon.until(lambda rows: is_done(rows[scene.stream()]), "the export was complete")
            for consumer in quick:
                consumer.start()
            first = truth(scene)
            await all_have(chosen, first, "should have all there is")
            assert f"the first load is whole: {len(first)}" in table.said()

            # Six days go by at Mews, while nobody looks: many are gone in the second snapshot, and get tombstones.
            await daemon.terminate()
            scene.simulator.set_clock(now=START + timedelta(days=6))
            scene.hold("add", before=True, skip=1)
            trap = scene.proxy.hold(commit_after_tombstones_to(scene.topic(TYPE)))
            daemon = await scene.start(snapshot_interval="1s")
            await trap.held()
            await kill_all(scene, daemon, chosen)
            await scene.start(snapshot_interval="1s")
            for consumer in chosen:
                consumer.start()
            second = truth(scene)
            assert len(first.keys() - second.keys()) > 50
            assert len([id_ for id_ in first.keys() & second.keys() if first[id_] != second[id_]]) > 50
            await all_have(chosen, second, "should have heard who is gone")
        early = chosen[-1].said().splitlines()[-1]
        assert " 0 repeats dropped" not in early
