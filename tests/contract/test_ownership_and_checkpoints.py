"""Ownership, its proof and the checkpoint table, on a real Apache Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from confluent_kafka import Producer

from streamer.config import CHECKPOINT_SHARDS, Config
from streamer.core.checkpoint import Checkpoint, encode_checkpoint
from streamer.core.partitioner import partition_of
from streamer.errors import KafkaUnavailableError, NotOwnerError
from streamer.kafka import checkpoints as checkpoints_module
from streamer.kafka.checkpoints import CheckpointReader
from streamer.kafka.ownership import Ownership
from streamer.kafka.producer import Message, ShardProducer, shard_producer
from streamer.kafka.topics import Topic, prepare_topics
from streamer.model import Shard
from tests.brokers import Kafka
from tests.contract.kafka_settings import settings_for
from tests.secured import client

ALL = frozenset(Shard(n) for n in range(CHECKPOINT_SHARDS))
STREAM = "alpine/Bill"
SHARD = Shard(partition_of(STREAM.encode(), CHECKPOINT_SHARDS))
BUSY = frozenset({Shard(0), Shard(1), Shard(2), Shard(3)})


@pytest.fixture
async def config(kafka: Kafka, prefix: str) -> Config:
    config = settings_for(kafka, prefix)
    await prepare_topics(config)
    return config


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (whatever is waited for happens in other tasks and in the broker)
            await asyncio.sleep(0.02)


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class TestOwnership:
    @asynccontextmanager
    async def member(self, config: Config) -> AsyncGenerator[Ownership, None]:
        """A member of the group, until it leaves."""
        ownership = Ownership(config, busy=BUSY, monotonic=time.monotonic)
        running: asyncio.Task[None] | None = None
        try:
            await ownership.start()
            running = asyncio.create_task(ownership.run())
            yield ownership
        finally:
            if running is not None:
                await cancelled(running)
            await ownership.stop()

    async def test_an_only_member_owns_all_shards_and_can_prove_it(self, config: Config) -> None:
        async with self.member(config) as member:
            await until(lambda: member.assignment == ALL)
            before = time.monotonic()
            for shard in (Shard(0), Shard(15)):
                await member.prove(shard)
            assert member.heard_at is not None
            assert member.heard_at >= before
        assert member.assignment is None

    async def test_before_the_first_assignment_there_is_nothing_to_prove(self, config: Config) -> None:
        ownership = Ownership(config, monotonic=time.monotonic)
        try:
            await ownership.start()
            with pytest.raises(NotOwnerError):
                await ownership.prove(Shard(0))
            assert ownership.assignment is None
        finally:
            await ownership.stop()

    async def test_two_members_share_the_shards_and_each_proves_its_own_alone(self, config: Config) -> None:
        async with self.member(config) as one, self.member(config) as other:
            await until(lambda: bool(one.assignment and other.assignment and one.assignment | other.assignment == ALL))
            assert one.assignment is not None
            assert other.assignment is not None
            assert not one.assignment & other.assignment
            assert {len(one.assignment), len(other.assignment)} == {8}
            # The first one had all of them before the other one came.
            assert {len(BUSY & one.assignment), len(BUSY & other.assignment)} == {2}
            for member, neighbour in ((one, other), (other, one)):
                await member.prove(min(member.assignment or ()))
                with pytest.raises(NotOwnerError):
                    await member.prove(min(neighbour.assignment or ()))

    async def test_leaving_hands_over_sooner_than_the_session_times_out(self, config: Config) -> None:
        async with self.member(config) as stays:
            async with self.member(config) as leaves:
                await until(lambda: len(stays.assignment or ()) == len(leaves.assignment or ()) == 8)
                left_behind = leaves.assignment or frozenset()
                left_at = time.monotonic()
            await until(lambda: stays.assignment == ALL)
            assert time.monotonic() - left_at < config.kafka.session_timeout.total_seconds()
            await stays.prove(min(left_behind))

    async def test_nothing_is_proven_in_a_rebalance_nor_once_another_member_has_the_shard(self, config: Config) -> None:
        async with AsyncExitStack() as members:
            first = await members.enter_async_context(self.member(config))
            await until(lambda: first.assignment == ALL)
            second = await members.enter_async_context(self.member(config))
            was_revoked = False
            async with asyncio.timeout(30):
                while not (second.assignment and len(first.assignment or ()) == 8):
                    for shard in (Shard(0), Shard(15)):
                        others = second.assignment or frozenset()
                        if first.assignment is None:
                            was_revoked = True
                            with pytest.raises(NotOwnerError):
                                await first.prove(shard)
                            continue
                        with contextlib.suppress(NotOwnerError):
                            await first.prove(shard)
                            assert shard not in others
                    # Without a rebalance under way every turn talks to the broker; within one, somebody has to wait.
                    await asyncio.sleep(0)
            assert was_revoked
            lost = min(second.assignment)
            with pytest.raises(NotOwnerError):
                await first.prove(lost)
            await second.prove(lost)

    async def test_a_frozen_member_is_thrown_out_and_its_proof_refused_at_once(self, config: Config) -> None:
        async with self.member(config) as member:
            await until(lambda: member.assignment == ALL)
            await member.prove(Shard(3))
            # The whole process stands still, as after SIGSTOP: no heartbeat leaves.
            time.sleep(config.kafka.session_timeout.total_seconds() + 1.5)  # noqa: ASYNC251
            assert member.assignment == ALL
            began = time.monotonic()
            with pytest.raises(NotOwnerError):
                await member.prove(Shard(3))
            assert time.monotonic() - began < 1.0
            await until(lambda: member.assignment == ALL)
            await until_proved(member)

    async def test_a_member_that_knows_nothing_of_its_shards_can_still_be_heard(self, config: Config) -> None:
        async with self.member(config) as member:
            await until(lambda: member.assignment == ALL)
            member.heard_at = None
            await member.hear()
            assert member.heard_at is not None


async def until_proved(member: Ownership) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await member.prove(Shard(3))
            except NotOwnerError:
                await asyncio.sleep(0.05)
            else:
                return


class TestCheckpoints:
    @pytest.fixture
    async def reader(self, config: Config) -> AsyncIterator[CheckpointReader]:
        reader = CheckpointReader(config)
        await reader.start()
        running = asyncio.create_task(reader.run())
        yield reader
        await cancelled(running)
        await reader.stop()

    @pytest.fixture
    async def producer(self, config: Config) -> AsyncIterator[ShardProducer]:
        producer = shard_producer(config, topics_of(config), SHARD, milliseconds=lambda: int(time.time() * 1000))
        await producer.start()
        yield producer
        await producer.close()

    async def commit(self, producer: ShardProducer, config: Config, value: bytes, key: str = STREAM) -> None:
        message = Message(config.topics.checkpoints, key.encode(), value)
        await producer.publish(lambda _offsets: [message])

    async def test_reading_to_the_end_of_an_empty_shard_ends(self, reader: CheckpointReader) -> None:
        await reader.read_to_end(SHARD)
        assert reader.entries == {}

    async def test_the_end_is_not_asked_for_behind_a_fetch_that_nobody_wants(
        self, reader: CheckpointReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A broker answers one request of a connection at a time, and such a fetch waits for half a second.
        asked: list[str] = []
        kafka_client = reader._watermarks._client
        send = kafka_client.send

        async def noted(node: int, request: object, **options: object) -> object:
            asked.append(type(request).__name__)
            return await send(node, request, **options)

        monkeypatch.setattr(kafka_client, "send", noted)
        for _ in range(4):
            await reader.read_to_end(SHARD)
        assert len(asked) >= 4
        assert not [name for name in asked if "Fetch" in name]

    async def test_what_was_committed_before_is_in_the_table_and_always_the_newest(
        self, reader: CheckpointReader, producer: ShardProducer, config: Config
    ) -> None:
        for cycle in range(5):
            committed = Checkpoint(cycle=cycle, owner="me")
            await self.commit(producer, config, encode_checkpoint(committed))
            await reader.read_to_end(SHARD)
            entry = reader.entries[STREAM]
            assert (entry.shard, entry.checkpoint, entry.problem) == (SHARD, committed, "")

    async def test_the_table_covers_the_streams_of_all_shards(
        self, reader: CheckpointReader, producer: ShardProducer, config: Config
    ) -> None:
        keys = [f"alpine/{n}" for n in range(40)]
        for n, key in enumerate(keys):
            await self.commit(producer, config, encode_checkpoint(Checkpoint(cycle=n)), key)
        for shard in ALL:
            await reader.read_to_end(shard)
        assert {key: entry.checkpoint for key, entry in reader.entries.items()} == {
            key: Checkpoint(cycle=n) for n, key in enumerate(keys)
        }
        assert all(entry.shard == partition_of(key.encode(), 16) for key, entry in reader.entries.items())

    async def test_what_another_version_wrote_is_there_with_its_problem_and_ends_nothing(
        self, reader: CheckpointReader, producer: ShardProducer, config: Config
    ) -> None:
        for value in (b'{"v": 3, "state": {"phase": "dreaming"}}', b"nonsense", b'{"v": 1, "owner": "\xff"}'):
            await self.commit(producer, config, value)
            await reader.read_to_end(SHARD)
            assert reader.entries[STREAM].checkpoint is None
            assert reader.entries[STREAM].problem
        await self.commit(producer, config, encode_checkpoint(Checkpoint(cycle=3)))
        await reader.read_to_end(SHARD)
        assert reader.entries[STREAM].checkpoint == Checkpoint(cycle=3)

    async def test_one_of_an_earlier_term_is_passed_over_and_said_to_bury_the_one_that_holds(
        self, reader: CheckpointReader, producer: ShardProducer, config: Config
    ) -> None:
        for term, owner in ((3, "first"), (4, "second"), (3, "first"), (4, "first")):
            await self.commit(producer, config, encode_checkpoint(Checkpoint(term=term, owner=owner)))
        await reader.read_to_end(SHARD)
        held = reader.entries[STREAM]
        assert (held.checkpoint, held.is_buried) == (Checkpoint(term=4, owner="second"), True)
        await self.commit(producer, config, encode_checkpoint(Checkpoint(term=4, owner="second", cycle=1)))
        await reader.read_to_end(SHARD)
        assert (reader.entries[STREAM].checkpoint or Checkpoint()).cycle == 1
        assert not reader.entries[STREAM].is_buried

    async def test_the_end_is_the_high_watermark_and_not_what_an_open_transaction_lets_one_see(
        self,
        reader: CheckpointReader,
        producer: ShardProducer,
        config: Config,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        neighbour = Producer(
            {**client(",".join(config.kafka.bootstrap_servers)), "transactional.id": config.topics.prefix}
        )
        neighbour.init_transactions(30)
        neighbour.begin_transaction()
        neighbour.produce(
            config.topics.checkpoints, encode_checkpoint(Checkpoint(cycle=9)), b"other/Bill", partition=SHARD
        )
        neighbour.flush(30)
        await self.commit(producer, config, encode_checkpoint(Checkpoint(cycle=1)))
        monkeypatch.setattr(checkpoints_module, "CALL_SECONDS", 1.0)
        with pytest.raises(KafkaUnavailableError, match="reading the checkpoints to their end"):
            await reader.read_to_end(SHARD)
        assert STREAM not in reader.entries
        monkeypatch.setattr(checkpoints_module, "CALL_SECONDS", 30.0)
        reading = asyncio.create_task(reader.read_to_end(SHARD))
        await asyncio.sleep(0.3)
        assert not reading.done()
        await asyncio.to_thread(neighbour.commit_transaction, 30)
        await reading
        assert reader.entries[STREAM].checkpoint == Checkpoint(cycle=1)
        assert reader.entries["other/Bill"].checkpoint == Checkpoint(cycle=9)

    async def test_what_was_aborted_never_appears(
        self, reader: CheckpointReader, producer: ShardProducer, config: Config
    ) -> None:
        await self.commit(producer, config, encode_checkpoint(Checkpoint(cycle=1)))

        def failing(_offsets: object) -> list[Message]:
            raise ZeroDivisionError

        aborted = Message(config.topics.checkpoints, STREAM.encode(), encode_checkpoint(Checkpoint(cycle=2)))
        with pytest.raises(ZeroDivisionError):
            await producer.publish(failing, messages=[aborted])
        successor = shard_producer(config, topics_of(config), SHARD, milliseconds=lambda: 0)
        await successor.start()
        await reader.read_to_end(SHARD)
        await successor.close()
        assert reader.entries[STREAM].checkpoint == Checkpoint(cycle=1)


def topics_of(config: Config) -> dict[str, Topic]:
    """Enough for a producer of checkpoints."""
    name = config.topics.checkpoints
    return {name: Topic(name=name, partitions=CHECKPOINT_SHARDS, replication_factor=1, configs={})}
