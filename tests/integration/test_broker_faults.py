"""What befalls brokers while an export is under way: waited out, and then every line is there once.

Each test holds a download in the middle of a file, when a part of the export is committed, lets something happen to a
broker, and lets the download go on. The brokers are these tests' own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from streamer.sandbox import faults
from streamer.sandbox.faults import FaultRule
from streamer.sandbox.local_cluster import LocalKafkaCluster
from streamer.sandbox.local_kafka import LocalKafka
from tests.brokers import Kafka
from tests.facts import murmur2
from tests.replica import DEADLINE_SECONDS
from tests.secured import broker_security, client, grant_rights
from tests.stage import FILES, LINES, MIDDLE, RESERVATION, WHOLE, Stage, quick_waits, stage

PATIENCE = 120.0
"""Seconds until a broker, or three of them on a busy machine, are over it: far more than it takes."""

FREEZE_SECONDS = 20.0
"""Longer than any session, shorter than a transaction."""

SHARDS = 16
TWO_FILES = len(FILES[0]) + len(FILES[1])


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    # What is held back has to stay so for as long as a test wants.
    with quick_waits(stall_seconds=2 * PATIENCE):
        yield


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path_factory.mktemp("broker"), security=broker_security()) as broker:
        grant_rights(broker.bootstrap_servers)
        yield broker


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafkaCluster]:
    """Three brokers: topics have three replicas, and need two of them."""
    with LocalKafkaCluster(tmp_path_factory.mktemp("cluster"), security=broker_security()) as cluster:
        grant_rights(cluster.bootstrap_servers)
        yield cluster


@asynccontextmanager
async def in_mid_export(bootstrap_servers: str, prefix: str) -> AsyncIterator[Stage]:
    """The first file is committed, the second one stops in its middle; in the end everything is verified."""
    hold = FaultRule(on="file", action=faults.Hold(at_byte=MIDDLE), file_index=1)
    async with stage(Kafka(bootstrap_servers), prefix, rules=[hold]) as on:
        await on.simulator.held(timeout=PATIENCE)
        await on.replica.until(lambda: _files_done(on) == 1, "the first file is committed", within=PATIENCE)
        yield on
        on.simulator.release()
        await on.replica.completed(within=PATIENCE)
        seen = await on.see()
        assert seen.told() == WHOLE
        assert len(seen.entities()) == seen.completed()["records"] == LINES
        assert on.replica.row()["cycle"] == 1


def _files_done(on: Stage) -> int:
    row = on.replica.row()
    return row["export"]["file"] if row["phase"] == "publishing" else 0


async def _goes_on(on: Stage) -> None:
    """Let the download go on, and see what comes of it committed."""
    on.simulator.release()
    await on.replica.until(lambda: _bytes_done(on) >= TWO_FILES, "the second file is committed", within=PATIENCE)


def _aborted(on: Stage) -> float:
    return on.replica.metric("transactions_total", outcome="aborted") or 0.0


def _bytes_done(on: Stage) -> int:
    row = on.replica.row()
    if row["phase"] == "idle":
        return sum(map(len, FILES))
    return row["export"]["bytes"] if row["phase"] == "publishing" else 0


# --- one broker -----------------------------------------------------------------------------------------------------


async def test_a_broker_that_is_killed_and_comes_back(broker: LocalKafka, prefix: str) -> None:
    async with in_mid_export(broker.bootstrap_servers, prefix) as on:
        await asyncio.to_thread(broker.kill)
        on.simulator.release()
        await on.replica.until(lambda: _aborted(on), "it is noticed", within=PATIENCE)
        await asyncio.to_thread(broker.start)


async def test_a_broker_that_is_frozen_for_twenty_seconds(broker: LocalKafka, prefix: str) -> None:
    async with in_mid_export(broker.bootstrap_servers, prefix) as on:
        broker.pause()
        try:
            on.simulator.release()
            await asyncio.sleep(FREEZE_SECONDS)
        finally:
            broker.resume()


async def test_a_broker_that_is_restarted_in_good_order(broker: LocalKafka, prefix: str) -> None:
    async with in_mid_export(broker.bootstrap_servers, prefix) as on:
        stopping = asyncio.create_task(asyncio.to_thread(broker.restart))
        on.simulator.release()
        await stopping


# --- a topic that is not what it was --------------------------------------------------------------------------------


async def _delete(bootstrap_servers: str, topic: str) -> None:
    def delete() -> None:
        admin = AdminClient(client(bootstrap_servers))
        for deleted in admin.delete_topics([topic]).values():
            deleted.result(DEADLINE_SECONDS)

    await asyncio.to_thread(delete)


@pytest.mark.parametrize("made_anew", [True, False], ids=["made anew by somebody", "made anew by the daemon"])
async def test_a_topic_that_is_deleted_in_mid_export_is_filled_again_with_a_snapshot(
    broker: LocalKafka, prefix: str, made_anew: bool
) -> None:
    topic = f"{prefix}.reservation"
    hold = FaultRule(on="file", action=faults.Hold(at_byte=MIDDLE), file_index=1)
    # So long goes a missing topic unnoticed.
    quick = {"transaction_timeout": timedelta(seconds=8)}
    async with stage(Kafka(broker.bootstrap_servers), prefix, rules=[hold], kafka_settings=quick) as on:
        await on.simulator.held(timeout=PATIENCE)
        await on.replica.until(lambda: _files_done(on) == 1, "the first file is committed", within=PATIENCE)
        await _delete(broker.bootstrap_servers, topic)
        if made_anew:
            await asyncio.to_thread(_create, broker.bootstrap_servers, topic)
        on.simulator.release()
        await on.replica.completed(within=PATIENCE)
        assert on.replica.metric("topics_lost_total") == 1.0
        seen = await on.see()
    told = seen.told()
    assert told[-len(WHOLE) :] == WHOLE
    assert told.count("export_failed") == 1
    (failed,) = [event for event in seen.events() if event["event"] == "export_failed"]
    assert f"the topic {topic} ends below what was published" in failed["reason"]
    # What the failed export has put into the new topic is not said again: it counts as unchanged.
    completed = seen.completed()
    assert completed["records"] + completed["unchanged"] == LINES
    assert {record.value for record in seen.entities()} == {line for file in FILES for line in file.splitlines()}


def _create(bootstrap_servers: str, topic: str) -> None:
    admin = AdminClient(client(bootstrap_servers))
    # Deleted is not yet gone: until then the name is taken.
    for _ in range(100):
        try:
            for created in admin.create_topics([NewTopic(topic, 2, replication_factor=1)]).values():
                created.result(DEADLINE_SECONDS)
        except Exception as error:
            assert "already exists" in str(error) or "marked for deletion" in str(error), error  # noqa: PT017
        else:
            return
    raise AssertionError(f"{topic} can't be made")


# --- three brokers --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def without(cluster: LocalKafkaCluster, node_id: int) -> AsyncIterator[None]:
    """One of the brokers is killed, and comes back in the end."""
    node = cluster.nodes[node_id - 1]
    await asyncio.to_thread(node.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(cluster.wait_until_whole, timeout=PATIENCE)


async def _leader(cluster: LocalKafkaCluster, topic: str, partition: int = 0) -> int:
    def ask() -> int:
        known = AdminClient(client(cluster.bootstrap_servers)).list_topics(topic, DEADLINE_SECONDS)
        return int(known.topics[topic].partitions[partition].leader)

    return await asyncio.to_thread(ask)


async def _group_coordinator(cluster: LocalKafkaCluster, prefix: str) -> int:
    def ask() -> int:
        admin = AdminClient(client(cluster.bootstrap_servers))
        groups = admin.describe_consumer_groups([f"{prefix}.streamer"])
        return int(next(iter(groups.values())).result(DEADLINE_SECONDS).coordinator.id)

    return await asyncio.to_thread(ask)


async def _transaction_coordinator(cluster: LocalKafkaCluster, prefix: str) -> int:
    """Of the stream's shard: the leader of its transactional id's partition."""
    shard = murmur2(f"alpine/{RESERVATION.value}".encode()) % SHARDS

    def partitions() -> int:
        topic = "__transaction_state"
        known = AdminClient(client(cluster.bootstrap_servers)).list_topics(topic, DEADLINE_SECONDS)
        return len(known.topics[topic].partitions)

    count = await asyncio.to_thread(partitions)
    place = _java_hash(f"{prefix}.streamer.{shard}") % count
    return await _leader(cluster, "__transaction_state", place)


def _java_hash(text: str) -> int:
    value = 0
    for sign in text:
        value = (31 * value + ord(sign)) & 0xFFFFFFFF
    return value & 0x7FFFFFFF


async def test_the_leader_of_what_is_published_to_is_killed(cluster: LocalKafkaCluster, prefix: str) -> None:
    async with (
        in_mid_export(cluster.bootstrap_servers, prefix) as on,
        without(cluster, await _leader(cluster, f"{prefix}.reservation")),
    ):
        # With the two that are left.
        await _goes_on(on)


async def test_the_transaction_coordinator_is_killed(cluster: LocalKafkaCluster, prefix: str) -> None:
    async with (
        in_mid_export(cluster.bootstrap_servers, prefix) as on,
        without(cluster, await _transaction_coordinator(cluster, prefix)),
    ):
        await _goes_on(on)


async def test_the_group_coordinator_is_killed(cluster: LocalKafkaCluster, prefix: str) -> None:
    async with (
        in_mid_export(cluster.bootstrap_servers, prefix) as on,
        without(cluster, await _group_coordinator(cluster, prefix)),
    ):
        await _goes_on(on)


async def test_the_cluster_is_restarted_broker_by_broker(cluster: LocalKafkaCluster, prefix: str) -> None:
    # A restart to each file, and something is committed in between.
    holds = [FaultRule(on="file", action=faults.Hold(at_byte=MIDDLE // 2), file_index=file) for file in range(3)]
    async with stage(Kafka(cluster.bootstrap_servers), prefix, rules=holds) as on:
        for file, node in enumerate(cluster.nodes):
            await on.simulator.held(timeout=PATIENCE)
            await on.replica.until(lambda file=file: _files_done(on) == file, "the file before", within=PATIENCE)  # type: ignore[misc]
            await asyncio.to_thread(node.restart)
            on.simulator.release()
            await asyncio.to_thread(cluster.wait_until_whole, timeout=PATIENCE)
        await on.replica.completed(within=PATIENCE)
        seen = await on.see()
    assert seen.told() == WHOLE
    assert len(seen.entities()) == LINES
