"""The command line as a newcomer meets it: help, one sentence for each mistake, and the exit code."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import structlog
from click.testing import CliRunner, Result

from streamer.cli import COMMANDS, cli
from streamer.config import Config
from streamer.errors import ConfigError, FatalError, KafkaUnavailableError
from streamer.model import StreamKey

CONFIG = """
[[connections]]
name = "alpine"
platform_url = "https://api.mews.com"
client_token = { env = "CLIENT_TOKEN" }
access_token = { env = "ACCESS_TOKEN" }
entity_types = ["Reservation", "Customer", "OrderItem"]

[[connections]]
name = "seaside"
platform_url = "https://api.mews.com"
client_token = { env = "CLIENT_TOKEN" }
access_token = { env = "OTHER_TOKEN" }
entity_types = ["Reservation", "Bill"]
"""
TOKENS = {"CLIENT_TOKEN": "client-canary", "ACCESS_TOKEN": "access-canary", "OTHER_TOKEN": "other-canary"}

PLAIN = ["run", "once", *(name for name in COMMANDS["Look"] if name != "dead-letters")]
"""Commands that need no argument; ``dead-letters`` is a group of two."""

Service = Callable[..., Coroutine[Any, Any, int]]
Invoke = Callable[..., Result]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STREAMER_CONFIG", raising=False)
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture
def invoke(directory: Path) -> Iterator[Invoke]:
    def invoke(*arguments: str, **environ: str | None) -> Result:
        return CliRunner(env={**TOKENS, **environ}).invoke(cli, arguments, prog_name="streamer")

    yield invoke
    structlog.reset_defaults()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Service], None]:
    """Puts a coroutine function in the place of a command's service."""

    def service(name: str, work: Service) -> None:
        place = {"run": "daemon", "once": "once"}[name]
        module = ModuleType(f"streamer.service.{place}")
        setattr(module, f"run_{'daemon' if name == 'run' else name}", work)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return service


def sentence(result: Result) -> str:
    """What went to stderr, which is one line that begins with the program's name."""
    assert result.stderr.startswith("streamer: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "canary" not in result.stderr
    return result.stderr


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", PLAIN)
def test_no_settings_file_is_one_sentence_and_2(invoke: Invoke, directory: Path, command: str) -> None:
    (directory / "config.toml").unlink()
    result = invoke(command)
    assert result.exit_code == 2
    assert "there is no file config.toml" in sentence(result)
    assert "config.example.toml" in result.stderr


def test_a_misspelt_key_is_one_sentence_and_2(invoke: Invoke, directory: Path) -> None:
    (directory / "config.toml").write_text("[exports]\npol_interval = '5m'\n" + CONFIG, encoding="utf-8")
    result = invoke("run")
    assert result.exit_code == 2
    assert 'exports.pol_interval: unknown key; did you mean "poll_interval"?' in sentence(result)


def test_a_missing_variable_is_one_sentence_and_2(invoke: Invoke) -> None:
    result = invoke("run", OTHER_TOKEN=None)
    assert result.exit_code == 2
    assert "connections[1].access_token: the environment variable OTHER_TOKEN is not set" in sentence(result)


def test_an_unknown_option_or_command_is_2(invoke: Invoke) -> None:
    assert invoke("run", "--fast").exit_code == 2
    assert invoke("walk").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "alpin"], 'there is no connection "alpin"; did you mean "alpine"?; the settings have alpine, seaside'),
        (["-t", "Reservations"], 'there is no entity type "Reservations"; did you mean "Reservation"?'),
        (["-t", "Payment"], "Payment is not exported; the settings have Reservation, Customer, OrderItem, Bill"),
        (["-c", "seaside", "-t", "Customer"], "Customer is not exported; the settings have Reservation, Bill"),
    ],
)
def test_once_says_which_streams_there_are(invoke: Invoke, arguments: list[str], message: str) -> None:
    result = invoke("once", *arguments)
    assert result.exit_code == 2
    assert message in sentence(result)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KafkaUnavailableError("no broker answers"), 1),
        (ConfigError("topics.partitions", "mews.bill has 3"), 2),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [FatalError("port 8080 is taken")])]), 1),
        (FatalError("Mews refuses access-canary at https://x.example/y?sig=canary"), 1),
    ],
)
def test_an_error_of_ours_is_one_sentence_without_secrets(
    invoke: Invoke, service: Callable[[str, Service], None], error: Exception, code: int
) -> None:
    async def fail(_: Config) -> int:
        raise error

    service("run", fail)
    result = invoke("run")
    assert result.exit_code == code
    sentence(result)


def test_a_mistake_in_the_program_is_logged_without_secrets_and_1(
    invoke: Invoke, service: Callable[[str, Service], None]
) -> None:
    async def fail(config: Config) -> int:
        raise KeyError(config.connections[0].access_token.reveal())

    service("run", fail)
    result = invoke("run")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "streamer: unexpected KeyError" in result.stderr
    assert "canary" not in result.stderr


def test_an_interrupt_is_130_and_no_traceback(invoke: Invoke, service: Callable[[str, Service], None]) -> None:
    async def interrupted(_: Config) -> int:
        raise KeyboardInterrupt

    service("run", interrupted)
    result = invoke("run")
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


# --- what is run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1])
def test_the_answer_of_the_work_is_the_exit_code(
    invoke: Invoke, service: Callable[[str, Service], None], code: int
) -> None:
    async def work(config: Config) -> int:
        await asyncio.sleep(0)
        assert [c.name for c in config.connections] == ["alpine", "seaside"]
        return code

    service("run", work)
    result = invoke("run")
    assert (result.exit_code, result.output) == (code, "")


@pytest.mark.parametrize(
    ("arguments", "streams"),
    [
        ([], ["alpine/Reservation", "alpine/Customer", "alpine/OrderItem", "seaside/Reservation", "seaside/Bill"]),
        (["-c", "seaside"], ["seaside/Reservation", "seaside/Bill"]),
        (["-t", "Reservation"], ["alpine/Reservation", "seaside/Reservation"]),
        (["-c", "alpine", "-t", "order-item", "-t", "customer"], ["alpine/Customer", "alpine/OrderItem"]),
    ],
)
def test_once_runs_the_chosen_streams(
    invoke: Invoke, service: Callable[[str, Service], None], arguments: list[str], streams: list[str]
) -> None:
    chosen: list[str] = []

    async def work(_: Config, streams: tuple[StreamKey, ...]) -> int:
        chosen.extend(map(str, streams))
        return 0

    service("once", work)
    assert invoke("once", *arguments).exit_code == 0
    assert chosen == streams


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["run", "--config", "other.toml"], None),
        (["--config", "other.toml", "run"], None),
        (["--config", "gone.toml", "run", "--config", "other.toml"], "gone.toml"),
        (["run"], "other.toml"),
    ],
)
def test_the_settings_are_named_before_or_after_the_command_or_by_variable(
    invoke: Invoke,
    service: Callable[[str, Service], None],
    directory: Path,
    arguments: list[str],
    variable: str | None,
) -> None:
    (directory / "config.toml").rename(directory / "other.toml")

    async def work(_: Config) -> int:
        return 0

    service("run", work)
    result = invoke(*arguments, STREAMER_CONFIG=variable)
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("arguments", [["run"], ["run", "--log-level", "debug"], ["--log-level", "debug", "run"]])
def test_the_log_level_is_named_before_or_after_the_command(
    invoke: Invoke, service: Callable[[str, Service], None], arguments: list[str]
) -> None:
    async def work(config: Config) -> int:
        structlog.get_logger("streamer.test").debug("detail", token=config.connections[0].access_token.reveal())
        return 0

    service("run", work)
    result = invoke(*arguments)
    assert ("detail" in result.stderr) == ("debug" in arguments)
    assert "canary" not in result.stderr


def test_help_names_all_commands_without_loading_them(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {name: place for section in COMMANDS.values() for name, place in section.items()}
    for module, _ in places.values():
        monkeypatch.setitem(sys.modules, module, None)
    result = invoke("--help")
    assert result.exit_code == 0
    for name in places:
        assert f"\n  {name} " in result.output


@pytest.mark.parametrize("command", PLAIN)
def test_every_command_has_help_with_an_example(invoke: Invoke, command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"    streamer {command}" in result.output
    assert "--config FILE" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_is_taught_to_complete(invoke: Invoke, shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_STREAMER_COMPLETE" in result.stdout


def test_commands_of_the_sandbox_are_loaded_when_asked_for(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.option("--keep", is_flag=True)
    def demo(keep: bool) -> None:
        click.echo(f"keep={keep}")

    module = ModuleType("streamer.sandbox.demo_command")
    module.demo = demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert invoke("demo", "--keep").stdout == "keep=True\n"


def test_the_program_starts_as_a_process_and_loads_neither_sandbox_nor_kafka(directory: Path) -> None:
    code = (
        "import sys, streamer.cli as c\n"
        "try: c.main()\n"
        "finally: print([m for m in sys.modules if m.startswith(('streamer.sandbox', 'aiokafka', 'aiohttp'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--config", "gone.toml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == "[]\n"
    assert done.stderr.startswith("streamer: there is no file gone.toml")
    assert done.stderr.count("\n") == 1


def test_the_version_is_told(invoke: Invoke) -> None:
    assert invoke("--version").output.startswith("streamer ")


def test_the_contract_needs_no_secret(invoke: Invoke) -> None:
    told = invoke("contract", "asyncapi", CLIENT_TOKEN=None, ACCESS_TOKEN=None, OTHER_TOKEN=None)
    assert told.exit_code == 0
    assert {"mews.reservation", "mews.bill", "mews.exports"} <= json.loads(told.output)["channels"].keys()


def test_schemas_are_written_one_file_each(invoke: Invoke, directory: Path) -> None:
    assert invoke("contract", "schemas", "--out", "made").exit_code == 0
    assert (directory / "made" / "order-item.schema.json").exists()
    assert len(list((directory / "made").iterdir())) == 20


def test_dead_letters_have_help_with_examples(invoke: Invoke) -> None:
    assert "    streamer dead-letters show " in invoke("dead-letters", "--help").output
    assert "--config FILE" in invoke("dead-letters", "list", "--help").output
