import msgspec
import pytest

from streamer.sandbox.faults import (
    Action,
    Cut,
    Drip,
    FaultRule,
    Faults,
    Gzip,
    Hold,
    Lost,
    Status,
    rule_from_json,
)
from tests.unit.cases import cases


def faults(*rules: FaultRule, seed: int = 1) -> Faults:
    made = Faults(seed)
    for rule in rules:
        made.add(rule)
    return made


def actions(made: Faults, file_index: int | None = None, entity_type: str = "Bill") -> list[Action]:
    on = "add" if file_index is None else "file"
    return [strike.action for strike in made.strike(on, [entity_type], file_index)]  # type: ignore[arg-type]


def test_a_rule_strikes_once_unless_it_says_how_often() -> None:
    once, twice, always = Status(code=500), Status(code=501), Status(code=502)
    made = faults(
        FaultRule(on="add", action=once),
        FaultRule(on="add", action=twice, times=2),
        FaultRule(on="add", action=always, times=None),
    )
    assert [actions(made) for _ in range(5)] == [[once], [twice], [twice], [always], [always]]


def test_a_rule_lets_the_first_ones_pass() -> None:
    made = faults(FaultRule(on="add", action=Lost(), skip=2))
    assert [len(actions(made)) for _ in range(4)] == [0, 0, 1, 0]


def test_actions_of_different_kinds_strike_together() -> None:
    made = faults(*(FaultRule(on="file", action=action) for action in (Hold(), Gzip(), Drip(bytes_per_second=9))))
    assert actions(made, 0) == [Hold(), Gzip(), Drip(bytes_per_second=9)]


def test_a_rule_concerns_only_its_type_its_file_and_its_operation() -> None:
    made = faults(FaultRule(on="file", entity_type="Bill", file_index=1, action=Cut(at_byte=5)))
    assert actions(made, 0) == actions(made, 1, "Payment") == actions(made) == []
    assert actions(made, 1) == [Cut(at_byte=5)]


def test_chance_follows_the_seed() -> None:
    def struck(seed: int) -> list[int]:
        made = faults(FaultRule(on="add", action=Lost(), times=None, probability=0.5), seed=seed)
        return [len(actions(made)) for _ in range(64)]

    assert struck(1) == struck(1) != struck(2)
    assert 16 < sum(struck(1)) < 48


def test_cleared_rules_are_gone() -> None:
    made = faults(FaultRule(on="add", action=Lost(), times=None))
    made.clear()
    assert actions(made) == []
    assert made.state() == []


def test_rules_are_read_from_json() -> None:
    assert rule_from_json(b'{"on": "file", "action": "gzip", "times": null}') == FaultRule(
        on="file", action=Gzip(), times=None
    )
    assert rule_from_json(b'{"on": "add", "action": {"name": "hold", "before": true}}') == FaultRule(
        on="add", action=Hold(before=True)
    )


@cases(
    "rule",
    [
        b'{"on": "file"}',
        b'{"on": "file", "action": "melt"}',
        b'{"on": "file", "action": "cut"}',
        b'{"on": "file", "action": {"name": "cut", "at_byte": -1}}',
        b'{"on": "add", "action": "gzip"}',
        b'{"on": "file", "action": "gzip", "Times": 1}',
        b'{"on": "file", "action": "early_files"}',
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        rule_from_json(rule)
