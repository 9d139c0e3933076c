from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from streamer.sandbox import simulator_command
from streamer.sandbox.simulator_settings import SimulatorSettings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SimulatorSettings]:
    """The settings that the command would have run the simulator with."""
    settings: list[SimulatorSettings] = []
    monkeypatch.setattr(simulator_command, "run_simulator", settings.append)
    return settings


def run(*arguments: str) -> int:
    return CliRunner().invoke(simulator_command.simulator, arguments).exit_code


def test_without_options_the_settings_are_the_defaults(asked: list[SimulatorSettings]) -> None:
    assert run() == 0
    assert asked == [SimulatorSettings()]


def test_entities_are_counted_for_all_types_and_for_one(asked: list[SimulatorSettings]) -> None:
    assert run("--entities", "5", "--entities", "Bill=7") == 0
    assert (asked[0].entities, asked[0].entities_by_type) == (5, {"Bill": 7})


def test_line_bytes_ask_for_fixed_lines(asked: list[SimulatorSettings]) -> None:
    assert run("--line-bytes", "430", "--access-token", "a", "--access-token", "b") == 0
    assert (asked[0].lines, asked[0].line_bytes, asked[0].access_tokens) == ("fixed", 430, ("a", "b"))


@pytest.mark.parametrize("entities", ["Room=1", "Bill=", "many", "-1"])
def test_a_count_of_nothing_known_is_a_usage_error(asked: list[SimulatorSettings], entities: str) -> None:
    assert run("--entities", entities) == 2
    assert asked == []


def test_settings_do_not_tell_their_tokens() -> None:
    assert "demo" not in repr(SimulatorSettings())


def test_a_world_that_moves_has_a_start_a_speed_and_tokens_that_reach_some_of_it(
    asked: list[SimulatorSettings],
) -> None:
    options = ("--start", "2026-03-01T00:00:00Z", "--speed", "86400", "--reach", "0=0,1", "--reach", "1=2")
    assert run("--moving", *options) == 0
    settings = asked[0]
    assert (settings.moving, settings.speed, settings.reach) == (True, 86_400, {0: (0, 1), 1: (2,)})
    assert settings.start == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "options",
    [("--start", "yesterday"), ("--start", "2026-03-01"), ("--reach", "0=3"), ("--reach", "1"), ("--speed", "-1")],
)
def test_what_is_no_time_and_reaches_nothing_is_a_usage_error(
    asked: list[SimulatorSettings], options: tuple[str, str]
) -> None:
    assert run(*options) == 2
    assert asked == []
