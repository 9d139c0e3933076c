"""Commits that were acknowledged and whose markers the coordinator left out, as no partition had a leader just then.

A broker that is alone comes by that while it stops. With three it is brought about: all topics lie on one of them, and
a transaction is committed while that one is down.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from streamer.config import Config
from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome
from streamer.core.record_format import NO_HEADERS
from streamer.kafka.announcing import AnnouncingProducer
from streamer.kafka.checkpoints import CheckpointReader
from streamer.kafka.producer import Message, ShardProducer, shard_producer
from streamer.kafka.sending import Confirm
from streamer.kafka.topics import Topic, prepare_topics
from streamer.metrics import Metrics
from streamer.model import ConnectionName, EntityType, Shard, StreamKey
from streamer.sandbox.local_cluster import LocalKafkaCluster
from streamer.service.session import Session, ShardTopics
from streamer.service.taking_over import take_over
from streamer.service.unconfigured import shard_of
from tests.brokers import Kafka
from tests.contract.committed import committed
from tests.contract.kafka_settings import settings_for
from tests.memory_kafka import json_of
from tests.secured import broker_security, client, grant_rights

STREAM = StreamKey(ConnectionName("alpine"), EntityType.BILL)
PARTITIONS = 3
ALONE = 3
"""The broker on which all topics lie."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafkaCluster]:
    with LocalKafkaCluster(tmp_path_factory.mktemp("cluster"), security=broker_security()) as cluster:
        grant_rights(cluster.bootstrap_servers)
        yield cluster


class Owner:
    """Takes the shard over, again and again; at each commit ``at_commit`` is called first."""

    def __init__(self, config: Config, topics: dict[str, Topic], reader: CheckpointReader) -> None:
        self.at_commit: Callable[[], Awaitable[object]] | None = None
        self.sessions: list[Session] = []
        self._config = config
        self._topics = topics
        self._reader = reader

    async def prove(self, shard: Shard) -> None: ...

    def new_producer(self, shard: Shard, confirm: Confirm) -> ShardProducer:
        return shard_producer(self._config, self._topics, shard, milliseconds=lambda: int(time.time() * 1000))

    async def take_over(self) -> Session:
        names = self._config.topics
        session = await take_over(
            shard_of(STREAM),
            new_producer=self.new_producer,
            group=self,
            checkpoints=self._reader,
            owner="me",
            topics=ShardTopics(events=names.events, checkpoints=names.checkpoints, dead_letters=names.dead_letters),
            metrics=Metrics(),
            monotonic=time.monotonic,
        )
        self.sessions.append(session)
        return session


@pytest.fixture
async def owner(cluster: LocalKafkaCluster, prefix: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Owner]:
    servers = cluster.bootstrap_servers
    counts = {"bill": PARTITIONS, "exports": PARTITIONS, "dead-letters": PARTITIONS, "checkpoints": 16, "signals": 1}
    admin = AdminClient(client(servers))
    new = [
        NewTopic(f"{prefix}.{name}", count, replica_assignment=[[ALONE]] * count, config={"min.insync.replicas": "1"})
        for name, count in counts.items()
    ]
    for created in admin.create_topics(new).values():
        created.result(30)
    config = settings_for(Kafka(servers), prefix)
    reader = CheckpointReader(config)
    await reader.start()
    running = asyncio.create_task(reader.run())
    owner = Owner(config, await prepare_topics(config), reader)
    commit = AnnouncingProducer.commit_transaction

    async def commit_then(producer: AnnouncingProducer) -> None:
        if owner.at_commit is not None:
            await owner.at_commit()
        await commit(producer)

    monkeypatch.setattr(AnnouncingProducer, "commit_transaction", commit_then)
    yield owner
    for session in owner.sessions:
        await session.close()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await reader.stop()


async def publish(session: Session, cycle: int, values: Sequence[bytes], *, event: bytes | None = None) -> None:
    """A block with a record in each partition, and a checkpoint that says ``cycle``."""
    batches = session.new_batches()
    for partition, value in enumerate(values):
        batches.append(partition, b"%d" % partition, value, NO_HEADERS)
    messages = [] if event is None else [Message(session.topics.events, str(STREAM).encode(), event)]
    topic = session.topics.events.replace("exports", "bill")
    await session.commit(
        STREAM, lambda _: Outcome(Checkpoint(cycle=cycle)), topic=topic, batches=batches, messages=messages
    )


@asynccontextmanager
async def down(cluster: LocalKafkaCluster, owner: Owner) -> AsyncIterator[None]:
    """The commit within is acknowledged while the broker with all topics is down, which is up again afterwards."""
    node = cluster.nodes[ALONE - 1]
    owner.at_commit = lambda: asyncio.to_thread(node.stop)
    try:
        yield
    finally:
        owner.at_commit = None
        # Where it failed before its commit the broker is up still.
        await asyncio.to_thread(node.restart)
        await asyncio.to_thread(cluster.wait_until_whole)


def seen(cluster: LocalKafkaCluster, session: Session, *, in_transaction: bool = False) -> tuple[set[bytes], list[int]]:
    """The values of the records and the cycles of the checkpoints that another library's consumer sees."""
    servers, prefix = cluster.bootstrap_servers, session.topics.events.removesuffix(".exports")
    bills = committed(servers, f"{prefix}.bill", in_transaction=in_transaction)
    checkpoints = committed(servers, session.topics.checkpoints, in_transaction=in_transaction)
    values = [record.value or b"" for record in bills]
    assert len(set(values)) == len(values), "once each"
    return set(values), [json_of(record.value)["cycle"] for record in checkpoints]


FIRST, SECOND = [b"a0", b"a1", b"a2"], [b"b0", b"b1", b"b2"]


async def test_it_is_aborted_as_a_whole_with_the_transaction_behind_it(
    cluster: LocalKafkaCluster, owner: Owner
) -> None:
    session = await owner.take_over()
    await publish(session, 1, FIRST)
    async with down(cluster, owner):
        await publish(session, 2, SECOND)
    assert seen(cluster, session, in_transaction=True) == (set(FIRST), [1]), "acknowledged, and open"

    async def dies() -> None:
        raise ZeroDivisionError

    owner.at_commit = dies
    with pytest.raises(ZeroDivisionError):
        await publish(session, 3, [], event=b"an event")
    owner.at_commit = None
    after = await owner.take_over()
    checkpoint = after.checkpoint(STREAM)
    assert checkpoint is not None
    assert checkpoint.cycle == 1
    await publish(after, 2, SECOND)
    assert seen(cluster, after) == ({*FIRST, *SECOND}, [1, 2])


async def test_it_is_committed_as_a_whole_with_the_transaction_behind_it(
    cluster: LocalKafkaCluster, owner: Owner
) -> None:
    session = await owner.take_over()
    async with down(cluster, owner):
        await publish(session, 1, FIRST)
    assert seen(cluster, session, in_transaction=True) == (set(), []), "acknowledged, and open"
    await publish(session, 2, [], event=b"an event")
    assert seen(cluster, session) == (set(FIRST), [1, 2])


async def test_where_nothing_follows_it_whoever_takes_over_settles_it(cluster: LocalKafkaCluster, owner: Owner) -> None:
    session = await owner.take_over()
    async with down(cluster, owner):
        await publish(session, 1, FIRST)
    assert seen(cluster, session, in_transaction=True) == (set(), []), "acknowledged, and open"
    after = await owner.take_over()
    checkpoint = after.checkpoint(STREAM)
    assert checkpoint is not None
    assert checkpoint.cycle == 1
    assert seen(cluster, after) == (set(FIRST), [1])
