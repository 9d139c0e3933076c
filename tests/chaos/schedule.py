"""What happens when in a run of chaos: pure, so that a seed always means the same.

Kinds of trouble lie in *lanes*, each with its own dice. A lane does one thing after another, the lanes go on side by
side: so a broker dies while a daemon is frozen at the very moment that somebody else commits. A longer run begins
like a shorter one of the same seed.
"""

from __future__ import annotations

import enum
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

MOST_REPLICAS = 4
LONGEST_FREEZE_SECONDS = 20.0
LEAVING_SECONDS = 8.0
"""Enough for a daemon in good order to leave, and for somebody else to take over."""
BROKER_SECONDS = 12.0
"""Enough for a broker to start, and for everybody to be back at work."""


class Instant(enum.StrEnum):
    """The tender moments of a daemon; each is brought about and not waited for by chance."""

    ADD_UNANSWERED = "add not answered"
    ID_UNCOMMITTED = "id not committed"
    MID_FILE = "mid-file"
    RECORDS_UNCOMMITTED = "records not committed"
    COMMIT_UNANSWERED = "commit not answered"
    BETWEEN_FILES = "between files"


Signal = Literal["kill", "term", "freeze"]
BrokerFault = Literal["kill", "freeze", "restart"]


@dataclass(frozen=True)
class Strike:
    """A signal to one daemon: at an instant, or at whatever moment it is.

    ``seconds`` is how long a freeze lasts, or how long nobody takes the place of one that was killed. ``late`` lets
    what was held back of the victim arrive after its death instead of never. ``pick`` chooses, from 0 to 1, among
    what there is to choose from at that time.
    """

    signal: Signal
    instant: Instant | None
    seconds: float
    late: bool
    pick: float


@dataclass(frozen=True)
class Scale:
    """So many replicas from here on."""

    replicas: int
    pick: float


@dataclass(frozen=True)
class BreakBroker:
    """``seconds`` is how long the broker is frozen, or stays down; a restart in good order has no pause."""

    fault: BrokerFault
    node: int
    seconds: float


@dataclass(frozen=True)
class CutConnections:
    """All connections to the brokers end."""


Action = Strike | Scale | BreakBroker | CutConnections
Lane = Literal["aimed", "at random", "brokers", "replicas", "connections"]


@dataclass(frozen=True)
class Planned:
    """An action, at so many seconds after the beginning."""

    at: float
    lane: Lane
    action: Action


def chaos(seed: int, seconds: float, *, brokers: int = 1, pause: float = 1.0) -> list[Planned]:
    """Everything at once. ``pause`` stretches the times between what befalls daemons: more of them get to work."""
    lanes = [
        _lane(seed, "aimed", (3.0 * pause, 7.0 * pause), _aimed),
        _lane(seed, "at random", (7.0 * pause, 14.0 * pause), _at_random),
        _lane(seed, "brokers", (40.0, 90.0), lambda dice: _broker_faults(dice, brokers)),
        _lane(seed, "replicas", (20.0 * pause, 45.0 * pause), _scales),
        _lane(seed, "connections", (30.0, 60.0), lambda _: itertools.repeat(CutConnections())),
    ]
    return _until(seconds, lanes)


def recovery(seed: int, count: int, *, brokers: int = 1, session_seconds: float = 10.0) -> list[Planned]:
    """One thing at a time with a rest in between, to see how long it takes to get over each."""
    over_it = session_seconds + 8.0
    dice = random.Random(f"{seed}/recovery")
    planned: list[Planned] = []
    at = 15.0
    for turn in range(count):
        pick, node = dice.random(), turn % brokers
        turns: tuple[tuple[Lane, Action, float], ...] = (
            ("at random", Strike("kill", None, 0.0, False, pick), over_it),
            ("at random", Strike("term", None, 0.0, False, pick), LEAVING_SECONDS),
            ("brokers", BreakBroker("restart", node, 0.0), BROKER_SECONDS),
            ("brokers", BreakBroker("kill", node, 1.0), BROKER_SECONDS),
        )
        for lane, action, rest in turns:
            planned.append(Planned(at, lane, action))
            at += rest
    return planned


def _until(seconds: float, lanes: list[Iterator[Planned]]) -> list[Planned]:
    kept = (itertools.takewhile(lambda planned: planned.at < seconds, lane) for lane in lanes)
    return sorted(itertools.chain.from_iterable(kept), key=lambda planned: (planned.at, planned.lane))


def _lane(
    seed: int, lane: Lane, between: tuple[float, float], actions: Callable[[random.Random], Iterator[Action]]
) -> Iterator[Planned]:
    dice = random.Random(f"{seed}/{lane}")
    at = 0.0
    for action in actions(dice):
        at += dice.uniform(*between)
        yield Planned(round(at, 3), lane, action)


def _strike(dice: random.Random, signal: Signal, instant: Instant | None) -> Strike:
    seconds = dice.uniform(0.0, 3.0)
    if signal == "freeze":
        # Every other one for longer than any session lasts, so that somebody else takes over.
        seconds = dice.uniform(0.5, 3.0) if dice.random() < 0.5 else dice.uniform(8.0, LONGEST_FREEZE_SECONDS)
    return Strike(signal, instant, round(seconds, 3), dice.random() < 0.4, dice.random())


def _aimed(dice: random.Random) -> Iterator[Strike]:
    # In bags, so that even a short run meets every instant; with each signal sooner or later.
    signals: tuple[Signal, ...] = ("kill", "kill", "freeze", "term")
    for round_number in itertools.count():
        bag = list(Instant)
        dice.shuffle(bag)
        for place, instant in enumerate(bag):
            yield _strike(dice, signals[(round_number + place) % len(signals)], instant)


def _at_random(dice: random.Random) -> Iterator[Strike]:
    signals: tuple[Signal, ...] = ("kill", "kill", "freeze", "freeze", "term")
    while True:
        yield _strike(dice, dice.choice(signals), None)


def _broker_faults(dice: random.Random, brokers: int) -> Iterator[BreakBroker]:
    while True:
        faults: list[BrokerFault] = ["kill", "freeze", "restart"]
        dice.shuffle(faults)
        for fault in faults:
            longest = LONGEST_FREEZE_SECONDS if fault == "freeze" else 4.0
            seconds = 0.0 if fault == "restart" else round(dice.uniform(0.5, longest), 3)
            yield BreakBroker(fault, dice.randrange(brokers), seconds)


def _scales(dice: random.Random) -> Iterator[Scale]:
    while True:
        yield Scale(dice.randint(1, MOST_REPLICAS), dice.random())
