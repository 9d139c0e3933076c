"""Without transactions nothing is lost, and what repeats does so under its own id, whichever batch fails."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.memory_kafka import Record, Trouble
from tests.unit.service.life_bench import BILLS, DEAD, FILES, Bench, expected, summary

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


async def test_terms_rise_with_each_session() -> None:
    bench = Bench(is_transactional=False)
    bench.kafka.batch_troubles = dict.fromkeys((5, 9, 14), Trouble.DIES_BEFORE_COMMIT)
    await bench.live()
    terms = [checkpoint.term for checkpoint in bench.checkpoints]
    assert all(later - earlier in (0, 1) for earlier, later in pairwise(terms))
    assert terms[-1] == bench.take_overs
