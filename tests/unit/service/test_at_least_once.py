"""Without transactions nothing is lost, and what repeats does so under its own id."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from streamer.core.checkpoint import Checkpoint, encode_checkpoint
from streamer.core.events import Outcome
from streamer.errors import FencedError, NotOwnerError, ProducerLostError
from streamer.model import ConnectionName, EntityType, StreamKey
from streamer.service.session import Session
from tests.fakes import MemoryKafka, Record, Trouble
from tests.unit.service.life_bench import (
    BILLS,
    CHECKPOINTS,
    DEAD,
    FILES,
    KEY,
    SHARD,
    Bench,
    expected,
    summary,
)

TROUBLES = [Trouble.BATCH_FAILS, Trouble.DIES_BEFORE_COMMIT, Trouble.DIES_AFTER_COMMIT]


def without_repeats(records: list[Record]) -> list[Record]:
    """One copy of each; all copies of a record are the same but for their place."""
    found: dict[str, Record] = {}
    for record in records:
        first = found.setdefault(record.ce_id, record)
        assert (record.partition, record.key, record.value, record.headers) == (
            first.partition, first.key, first.value, first.headers
        )  # fmt: skip
    return list(found.values())


def check_completed(bench: Bench) -> int:
    """Every line of the export is there, under its own id; the number of repeats."""
    records, letters = bench.kafka.committed(BILLS), bench.kafka.committed(DEAD)
    good, bad, _ = expected(FILES)
    unique = without_repeats(records)
    assert sorted((r.ce_id, r.value) for r in unique) == [(f"e1/{at}", line) for at, line in good]
    assert sorted(r.ce_id for r in without_repeats(letters)) == [f"e1/{at}" for at, _ in bad]
    *earlier, completed = [event for event in bench.events if event["event"] == "export_completed"]
    assert (completed["records"], completed["dead_letters"]) == (len(good), len(bad))
    for told in (*earlier, completed):
        for partition, part in told["partitions"].items():
            inside = [r for r in records if r.partition == int(partition) and part["start"] <= r.offset < part["end"]]
            truth = summary(without_repeats(inside))
            assert {name: part[name] for name in ("records", "digest")} == {
                name: truth[name] for name in ("records", "digest")
            }
            assert len(without_repeats(inside)) == len([r for r in unique if r.partition == int(partition)])
    return len(records) - len(unique)


async def test_a_life_without_trouble_has_no_repeats() -> None:
    bench = Bench(is_transactional=False)
    await bench.live()
    bench.check_completed("e1")
    assert check_completed(bench) == 0


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name.lower())
async def test_whichever_batch_fails_nothing_is_lost_and_repeats_are_the_same(trouble: Trouble) -> None:
    smooth = Bench(is_transactional=False)
    await smooth.live()
    repeats = 0
    for batch in range(1, smooth.kafka.batches + 1):
        bench = Bench(is_transactional=False)
        # Every other time it is the death of the process too; of which batches, differs from trouble to trouble.
        bench.is_mortal = (batch + TROUBLES.index(trouble)) % 2 == 0
        bench.kafka.batch_troubles = {batch: trouble}
        await bench.live()
        if len(bench.mews.added) == 1:
            repeats += check_completed(bench)
        terms = [checkpoint.term for checkpoint in bench.checkpoints]
        assert terms == sorted(terms)
    assert repeats > 0


async def test_many_troubles_in_a_row_lose_nothing_either() -> None:
    bench = Bench(is_transactional=False)
    bench.kafka.batch_troubles = {n: TROUBLES[n // 4 % 3] for n in range(12, 120) if n % 4 == 0}
    await bench.live()
    assert check_completed(bench) > 0


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


async def test_terms_rise_with_each_session() -> None:
    bench = Bench(is_transactional=False)
    bench.kafka.batch_troubles = dict.fromkeys((5, 9, 14), Trouble.DIES_BEFORE_COMMIT)
    await bench.live()
    terms = [checkpoint.term for checkpoint in bench.checkpoints]
    assert all(later - earlier in (0, 1) for earlier, later in pairwise(terms))
    assert terms[-1] == bench.take_overs


OTHER = StreamKey(ConnectionName("alpine"), EntityType.COMPANY)
