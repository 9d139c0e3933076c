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
