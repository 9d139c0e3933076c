"""A replica in the test's own process, and what another client library sees of its work.

Faster than a daemon as a subprocess, and the simulator's methods, the replica's rows and its metrics are at hand. What
is in Kafka is read with confluent-kafka and never with the code under test.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
from confluent_kafka.admin import AdminClient, NewTopic

from streamer.config import Config, ConnectionConfig, ExportsConfig, HttpConfig, TopicsConfig
from streamer.metrics import Metrics
from streamer.model import ConnectionName, EntityType, Secret
from streamer.sandbox.export_files import ExportFile
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from streamer.service.clock import Clock
from streamer.service.replica import Replica
from tests.committed import Published, Record, read_committed
from tests.secured import client, kafka_config
from tests.verify import Report, Served, verify

CONNECTION = "alpine"
DEADLINE_SECONDS = 30.0
"""For whatever has to happen at some time: long enough for a busy machine, short enough to see what is missing."""

INSTANT = SimulatorSettings(pending_seconds=0, processing_seconds=0)
"""Exports that are ready as soon as they are asked for."""


def settings_for(
    bootstrap_servers: str,
    prefix: str,
    platform_url: str,
    *entity_types: EntityType,
    kafka: Mapping[str, Any] | None = None,
    topics: Mapping[str, Any] | None = None,
    exports: Mapping[str, Any] | None = None,
    client_token: str = INSTANT.client_token,
    access_token: str = INSTANT.access_tokens[0],
) -> Config:
    """Settings for one connection to a simulator, with polls every 50 ms."""
    return Config(
        kafka=msgspec.structs.replace(kafka_config(bootstrap_servers), **(kafka or {})),
        topics=TopicsConfig(**{"prefix": prefix, "partitions": 2, **(topics or {})}),
        exports=ExportsConfig(
            **{
                "poll_interval": timedelta(milliseconds=50),
                "update_interval": None,
                "transaction_seconds": 0.5,
                **(exports or {}),
            }
        ),
        http=HttpConfig(host="127.0.0.1", port=0),
        connections=(
            ConnectionConfig(
                name=ConnectionName(CONNECTION),
                platform_url=platform_url,
                client_token=Secret(client_token),
                access_token=Secret(access_token),
                entity_types=entity_types or (EntityType.RESERVATION,),
            ),
        ),
    )


class RunningReplica:
    """A replica that works while the test looks on."""

    def __init__(self, config: Config, *, once: bool = False) -> None:
        self.config = config
        self.clock = Clock()
        self.metrics = Metrics()
        self.replica = Replica(config, clock=self.clock, metrics=self.metrics, chosen=config.streams(), once=once)
        self.task = asyncio.create_task(self.replica.run(), name="replica under test")

    def row(self, entity_type: EntityType = EntityType.RESERVATION) -> dict[str, Any]:
        """What ``/api/streams`` says of a stream."""
        return next(row for row in self.replica.rows() if row["entity_type"] == entity_type.value)

    def metric(self, name: str, entity_type: EntityType = EntityType.RESERVATION, **labels: str) -> float | None:
        """A sample as Prometheus would get it."""
        all_labels = {"connection": CONNECTION, "entity_type": entity_type.value, **labels}
        return self.metrics.registry.get_sample_value(f"streamer_{name}", all_labels)

    async def until(self, met: Callable[[], object], what: str, *, within: float = DEADLINE_SECONDS) -> None:
        """Wait for an outcome; fails with what the streams were doing instead, or with the replica's own error."""
        deadline = time.monotonic() + within
        while not met():
            if self.task.done():
                await self.task
                raise AssertionError(f"the replica has ended before this: {what}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within:g} s: {what}; instead: {self.replica.rows()}")
            await asyncio.sleep(0.01)

    async def completed(self, *entity_types: EntityType, within: float = DEADLINE_SECONDS) -> None:
        """Wait until each of the streams has completed an export and is at rest."""
        for entity_type in entity_types or (EntityType.RESERVATION,):
            await self.until(
                partial(self._has_completed, entity_type), f"a completed export of {entity_type}", within=within
            )

    def _has_completed(self, entity_type: EntityType) -> bool:
        row = self.row(entity_type)
        return bool(row["last_snapshot"]) and row["phase"] == "idle"

    async def phase(self, phase: str, entity_type: EntityType = EntityType.RESERVATION) -> dict[str, Any]:
        """Wait until the stream is in a phase; its row."""
        await self.until(lambda: self.row(entity_type)["phase"] == phase, f"{entity_type} is {phase}")
        return self.row(entity_type)

    async def stop(self) -> None:
        """End as after SIGTERM. Raises what the replica raised."""
        self.clock.stopping.set()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.task


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[RunningReplica]:
    """A replica for the length of a block."""
    replica = RunningReplica(config)
    try:
        yield replica
        await replica.stop()
    finally:
        replica.task.cancel()
        await asyncio.gather(replica.task, return_exceptions=True)


# --- what is in Kafka -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Seen:
    """Everything that is committed to the topics of a test."""

    published: Published
    prefix: str

    def entities(self, entity_type: EntityType = EntityType.RESERVATION) -> list[Record]:
        return list(self.published.records[f"{self.prefix}.{entity_type.slug}"])

    def dead_letters(self, entity_type: EntityType = EntityType.RESERVATION) -> list[Record]:
        return self._of_stream("dead-letters", entity_type)

    def events(self, entity_type: EntityType = EntityType.RESERVATION) -> list[dict[str, Any]]:
        """The events of a stream, in their order."""
        return [json.loads(record.value or b"") for record in self._of_stream("exports", entity_type)]

    def told(self, entity_type: EntityType = EntityType.RESERVATION) -> list[str]:
        """The names of the events of a stream, in their order."""
        return [event["event"] for event in self.events(entity_type)]

    def completed(self, entity_type: EntityType = EntityType.RESERVATION) -> dict[str, Any]:
        """The one ``export_completed`` of a stream."""
        (event,) = [event for event in self.events(entity_type) if event["event"] == "export_completed"]
        return event

    def _of_stream(self, topic: str, entity_type: EntityType) -> list[Record]:
        key = f"{CONNECTION}/{entity_type}".encode()
        return [record for record in self.published.records[f"{self.prefix}.{topic}"] if record.key == key]


async def see(bootstrap_servers: str, prefix: str) -> Seen:
    """Read all topics whose names begin with the prefix to their ends."""
    return await asyncio.to_thread(see_now, bootstrap_servers, prefix)


def see_now(bootstrap_servers: str, prefix: str) -> Seen:
    """``see``, without a loop."""
    known = AdminClient(client(bootstrap_servers)).list_topics(timeout=DEADLINE_SECONDS).topics
    topics = [name for name in known if name.startswith(f"{prefix}.")]
    return Seen(read_committed(bootstrap_servers, topics), prefix)


def create_topic(bootstrap_servers: str, name: str, *, partitions: int = 2, **configs: str) -> None:
    """A topic made beforehand, as an administrator would; ``max_message_bytes`` is ``max.message.bytes``."""
    topic = NewTopic(
        name,
        partitions,
        replication_factor=1,
        config={config.replace("_", "."): value for config, value in configs.items()},
    )
    admin = AdminClient(client(bootstrap_servers))
    for created in admin.create_topics([topic]).values():
        created.result(DEADLINE_SECONDS)
    deadline = time.monotonic() + DEADLINE_SECONDS
    # Made is not yet known: the broker hears of it from the controller.
    while name not in (known := admin.list_topics(timeout=DEADLINE_SECONDS).topics) or not known[name].partitions:
        assert time.monotonic() < deadline, f"the topic {name} does not appear"
        time.sleep(0.02)


def check_published(simulator: Simulator, seen: Seen) -> Report:
    """Compare all that is committed with all that was served, by the independent verifier."""
    return verify(seen.published, served(simulator), prefix=seen.prefix, connection=CONNECTION)


def served(simulator: Simulator) -> dict[str, Served]:
    """Every export that the simulator ever accepted, with the true contents of its files."""
    return {
        export_id: Served(export.entity_type, tuple(partial(_contents, file) for file in export.files))
        for export_id, export in simulator.api.exports.items()
    }


def _contents(file: ExportFile) -> bytes:
    return b"".join(file.read(0, file.size))
