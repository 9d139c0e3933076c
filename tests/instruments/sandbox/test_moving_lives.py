"""The lives of entities follow from a seed: whatever the moment, everything said about them agrees."""

from itertools import pairwise

import numpy as np
import pytest

from streamer.sandbox.moving_lives import DAY, NEVER, Lives

START = 1_770_000_000
LIVES = Lives(
    seed=7, start=START, count=400, birth_seconds=DAY // 8, update_seconds=DAY, mortal=0.3, late=0.3, late_seconds=900
)
PROFILES = Lives(seed=8, start=START, count=400, birth_seconds=DAY // 8, update_seconds=DAY, merged=0.5)
MOMENTS = [START + hours * 3600 for hours in range(0, 30 * 24, 31)]


def seen(lives: Lives, moment: int) -> dict[int, tuple[int, int]]:
    """The entities found at a moment, with version and time of update."""
    entities, versions = lives.living(moment)
    times = lives.updated(entities, versions)
    return dict(zip(entities.tolist(), zip(versions.tolist(), times.tolist(), strict=True), strict=True))


def test_nothing_bears_a_time_to_come_and_versions_only_grow() -> None:
    for (_, before), (moment, after) in pairwise((moment, seen(LIVES, moment)) for moment in MOMENTS):
        assert max(time for _, time in after.values()) <= moment
        for entity in before.keys() & after.keys():
            assert before[entity] <= after[entity]


def test_who_is_gone_was_deleted_and_stays_so() -> None:
    deleted = dict(zip(*(numbers.tolist() for numbers in LIVES.gone(MOMENTS[-1])), strict=True))
    for (moment, before), (later, after) in pairwise((moment, seen(LIVES, moment)) for moment in MOMENTS):
        assert all(moment < deleted[entity] <= later for entity in before.keys() - after.keys())
        assert all(deleted[entity] > moment for entity in before.keys() & deleted.keys())
    # Nearly a third within forty days, of those that were there at the start and those that came.
    assert 0.15 < len(deleted) / (400 + 30 * 8) < 0.3


def test_entities_come_as_time_goes_on() -> None:
    born = [len(LIVES.living(moment)[0]) + len(LIVES.gone(moment)[0]) for moment in (START, START + 30 * DAY)]
    assert born[0] == pytest.approx(400, abs=5)
    assert born[1] - born[0] == pytest.approx(30 * 8, abs=5)


def test_a_late_version_shows_late_and_nothing_else_does() -> None:
    entities = np.arange(400, dtype=np.int64)
    versions = np.full_like(entities, 20)
    delays = LIVES.shown(entities, versions) - LIVES.updated(entities, versions)
    assert 0.2 < (delays > 0).mean() < 0.4
    assert delays.max() <= 900
    late = entities[delays > 0]
    for entity in late.tolist()[:20]:
        update, shown = (
            int(times[entity]) for times in (LIVES.updated(entities, versions), LIVES.shown(entities, versions))
        )
        one = np.array([entity], dtype=np.int64)
        assert LIVES.versions(one, shown - 1).tolist() == [19]
        assert LIVES.versions(one, shown).tolist() == [20]
        assert update < shown


def test_a_merge_is_the_last_that_happens_to_a_profile() -> None:
    entities, versions = PROFILES.living(START + 30 * DAY)
    merged = versions == PROFILES.last_version(entities)
    assert 0.3 < merged.mean() < 0.6
    _, later = PROFILES.living(START + 40 * DAY)
    assert (later[: len(versions)][merged] == versions[merged]).all()
    assert (PROFILES.merge_target(entities) != entities).all()


def test_without_births_updates_and_deaths_the_world_rests() -> None:
    at_rest = Lives(seed=1, start=START, count=50, birth_seconds=NEVER, update_seconds=NEVER)
    assert seen(at_rest, START) == seen(at_rest, START + 1000 * DAY)
    assert len(seen(at_rest, START)) == 50
    assert seen(Lives(seed=1, start=START, count=0, birth_seconds=NEVER, update_seconds=NEVER), START) == {}


def test_another_seed_is_another_world() -> None:
    assert seen(LIVES, MOMENTS[9]) == seen(LIVES, MOMENTS[9])
    assert seen(LIVES, MOMENTS[9]) != seen(PROFILES, MOMENTS[9])
