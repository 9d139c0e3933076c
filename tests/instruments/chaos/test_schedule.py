"""A seed means the same for ever, and a short run meets every instant."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tests.chaos.schedule import (
    LONGEST_FREEZE_SECONDS,
    MOST_REPLICAS,
    BreakBroker,
    Instant,
    Scale,
    Strike,
    chaos,
    recovery,
)
from tests.unit.cases import cases

SEEDS = range(20)


def test_a_seed_repeats_its_schedule_and_another_one_does_not() -> None:
    assert chaos(7, 300) == chaos(7, 300)
    assert chaos(7, 300) != chaos(8, 300)


@cases("seed", SEEDS)
def test_a_longer_run_begins_like_a_shorter_one(seed: int) -> None:
    short = chaos(seed, 120)
    assert chaos(seed, 600)[: len(short)] == short


@cases("seed", SEEDS)
def test_actions_come_in_order_and_in_time(seed: int) -> None:
    planned = chaos(seed, 200)
    assert all(0 < earlier.at <= later.at < 200 for earlier, later in pairwise(planned))


@cases("seed", SEEDS)
def test_two_minutes_meet_every_instant_and_every_signal(seed: int) -> None:
    strikes = [item.action for item in chaos(seed, 120) if isinstance(item.action, Strike)]
    instants = Counter(strike.instant for strike in strikes)
    assert min(instants[instant] for instant in Instant) >= 2
    assert {strike.signal for strike in strikes if strike.instant} == {"kill", "term", "freeze"}


@cases("seed", SEEDS)
def test_what_is_planned_stays_within_its_limits(seed: int) -> None:
    actions = [item.action for item in chaos(seed, 1200, brokers=3)]
    assert {action.replicas for action in actions if isinstance(action, Scale)} == set(range(1, MOST_REPLICAS + 1))
    broken = [action for action in actions if isinstance(action, BreakBroker)]
    assert {fault.fault for fault in broken} == {"kill", "freeze", "restart"}
    assert {fault.node for fault in broken} == {0, 1, 2}
    seconds = [action.seconds for action in actions if isinstance(action, Strike | BreakBroker)]
    assert min(seconds) >= 0
    assert max(seconds) <= LONGEST_FREEZE_SECONDS


@pytest.mark.parametrize("brokers", [1, 3])
def test_recovery_does_one_thing_at_a_time(brokers: int) -> None:
    planned = recovery(1, 20, brokers=brokers, session_seconds=10.0)
    kinds = [
        action.signal if isinstance(action, Strike) else action.fault
        for action in (item.action for item in planned)
        if isinstance(action, Strike | BreakBroker)
    ]
    assert kinds == ["kill", "term", "restart", "kill"] * 20
    # A daemon that is killed is missed only after a session's length.
    rests = [later.at - earlier.at for earlier, later in pairwise(planned)]
    assert [*rests, 12.0] == [18.0, 8.0, 12.0, 12.0] * 20
