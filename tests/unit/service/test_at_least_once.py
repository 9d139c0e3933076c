"""Without transactions: of two owners of a shard one goes on, and what the other writes late is written over."""

from __future__ import annotations

import asyncio

import pytest

from streamer.core.checkpoint import Checkpoint, encode_checkpoint
from streamer.core.events import Outcome
from streamer.errors import FencedError, NotOwnerError, ProducerLostError
from streamer.model import ConnectionName, EntityType, StreamKey
from streamer.service.session import Session
from tests.memory_kafka import MemoryKafka
from tests.unit.service.life_bench import CHECKPOINTS, KEY, SHARD, Bench


class Two:
    """Two owners of one shard, the first of which does not know that it was overtaken."""

    def __init__(self) -> None:
        self.bench = Bench(is_transactional=False)

    async def take(self) -> Session:
        return await self.bench.take(SHARD, owner="somebody")

    async def commit(self, session: Session, cycle: int) -> Checkpoint:
        return await session.commit(KEY, lambda _: Outcome(Checkpoint(cycle=cycle)))

    @property
    def kafka(self) -> MemoryKafka:
        return self.bench.kafka

    def cycles(self) -> list[int]:
        return [checkpoint.cycle for checkpoint in self.bench.checkpoints]

    def write_late(self, checkpoint: Checkpoint, cycle: int) -> None:
        """What was on its way when its sender froze arrives."""
        late = Checkpoint(term=checkpoint.term, owner=checkpoint.owner, cycle=cycle)
        self.kafka.put(CHECKPOINTS, str(KEY).encode(), encode_checkpoint(late))


async def test_who_was_overtaken_finds_the_later_term_before_its_own_checkpoint_and_steps_down() -> None:
    two = Two()
    first = await two.take()
    await two.commit(first, 1)
    second = await two.take()
    await two.commit(second, 2)
    bench = two.bench
    bench.frozen = 60.0
    before = bench.kafka.batches
    with pytest.raises(FencedError, match="taken over in term 2"):
        await two.commit(first, 3)
    assert bench.kafka.batches == before
    assert first.lost.is_set()
    assert two.cycles() == [1, 2]
    await two.commit(second, 4)


async def test_of_two_who_count_the_same_term_the_one_who_wrote_first_goes_on() -> None:
    two = Two()
    first, second = await two.take(), await two.take()
    assert first.term == second.term == 1
    await two.commit(second, 2)
    with pytest.raises(FencedError):
        await two.commit(first, 3)
    await two.commit(second, 4)
    third = await two.take()
    assert third.term == 2
    assert two.cycles() == [2, 4]


async def test_a_late_checkpoint_of_an_earlier_term_is_ignored_by_the_next_owner() -> None:
    two = Two()
    stale = await two.commit(await two.take(), 1)
    newest = await two.commit(await two.take(), 2)
    two.write_late(stale, 7)
    third = await two.take()
    assert third.checkpoint(KEY) == newest
    assert third.term == newest.term + 1


async def test_a_late_checkpoint_is_written_over_though_nothing_happens_in_the_stream() -> None:
    two = Two()
    stale = await two.commit(await two.take(), 1)
    await two.commit(await two.take(), 2)
    two.write_late(stale, 7)
    session = await two.take()
    keeping = asyncio.create_task(session.keep())
    await asyncio.sleep(1)
    assert two.cycles() == [1, 2, 2]
    assert two.bench.checkpoint.term == session.term
    two.write_late(stale, 8)
    # With the commit of a neighbour the table learns of it.
    await session.commit(OTHER, lambda _: Outcome(Checkpoint()))
    await asyncio.sleep(60)
    assert two.cycles() == [1, 2, 2, 0, 2]
    assert not session.lost.is_set()
    session.lost.set()
    await keeping


async def test_a_shard_that_is_not_proven_any_more_publishes_nothing() -> None:
    bench = Bench(is_transactional=False)
    session = await bench.take(SHARD)
    bench.group.refusals = [NotOwnerError("thrown out")] * 1000
    with pytest.raises(ProducerLostError, match="proving the ownership"):
        await session.commit(KEY, lambda _: Outcome(Checkpoint()))
    assert bench.checkpoints == []
    assert session.lost.is_set()


OTHER = StreamKey(ConnectionName("alpine"), EntityType.COMPANY)
