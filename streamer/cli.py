"""The command line: arguments, exit codes, and one sentence for whatever goes wrong.

Exit codes: 0 done; 1 a person must look; 2 usage or configuration; 130 interrupted. What a command does lies
behind an import inside it, so that ``--help`` is quick and the daemon never loads the sandbox.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import structlog

from streamer.config import Config, load_config
from streamer.config_values import suggestion
from streamer.errors import ConfigError, StreamerError
from streamer.logs import LEVELS, configure_logs, scrub
from streamer.model import EntityType, StreamKey

F = TypeVar("F", bound=Callable[..., Any])

LAZY_COMMANDS = {
    "simulator": (
        "streamer.sandbox.simulator_command",
        "The Mews API with its whole lifecycle, and faults to order.",
    ),
    "demo": (
        "streamer.sandbox.demo_command",
        "A real Kafka, the simulator and the daemon here, from nothing.",
    ),
}
"""Commands of other modules: where they are, and what ``--help`` says without importing them."""


class _Failed(click.ClickException):
    """One sentence on stderr, and the exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(scrub(message))

    def show(self, file: Any = None) -> None:
        click.echo(f"streamer: {self.message}", file=file or sys.stderr)


class _WronglyConfigured(_Failed):
    exit_code = 2


class _Commands(click.Group):
    """The commands, those of the sandbox imported when asked for; errors become sentences here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *LAZY_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LAZY_COMMANDS:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(LAZY_COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 (for mypy; the names are written above)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._short_help(name)) for name in self.list_commands(ctx)])

    def _short_help(self, name: str) -> str:
        return LAZY_COMMANDS[name][1] if name in LAZY_COMMANDS else self.commands[name].get_short_help_str(100)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            raise _failed(error) from None


def _failed(error: Exception) -> _Failed:
    if isinstance(error, ExceptionGroup):
        # From a TaskGroup: what we said ourselves explains the rest, if there is any such thing.
        ours, others = error.split(StreamerError)
        if ours is not None and others is None:
            return _failed(_first(ours))
    if isinstance(error, ConfigError):
        return _WronglyConfigured(str(error))
    if isinstance(error, StreamerError):
        return _Failed(str(error))
    # A mistake in the program. Its traceback goes through the logs, which hide secrets.
    structlog.get_logger("streamer").critical("unexpected_error", exc_info=error)
    return _Failed(f"unexpected {type(error).__name__}; the log has the details, please report it")


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _version() -> str:
    try:
        return importlib.metadata.version("streamer")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (not installed)"


def config_option(command: F) -> F:
    """``--config``, before the command or after it."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The settings.  [default: STREAMER_CONFIG, else config.toml]",
    )(command)


def log_level_option(command: F) -> F:
    """``--log-level``, before the command or after it."""
    return click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        help="How much to log, on stderr.  [default: info]",
    )(command)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 a person must look; 2 usage or configuration.",
)
@click.version_option(_version(), message="%(prog)s %(version)s")
@config_option
@log_level_option
def cli(config: Path | None, log_level: str | None) -> None:  # noqa: ARG001 (read by _start)
    """Keeps Apache Kafka topics in step with a Mews property-management system, exactly once.

    \b
    See it work, with nothing set up:    streamer demo
    Then, with config.example.toml copied to config.toml and filled in:
      is everything in place?            streamer check
      publish everything once            streamer once
      keep publishing                    streamer run
    """
    # Whatever goes wrong from here on is told without secrets, also before the settings are read.
    configure_logs(level=log_level or "info")


@cli.command()
@config_option
@log_level_option
def run(config: Path | None, log_level: str | None) -> None:
    """The daemon: exports, publishes, and goes on until told to stop.

    SIGTERM or Ctrl-C: stops asking, commits what is in hand, leaves. A second one: leaves at once.

    \b
    Examples:
      streamer run
      streamer run --config /etc/streamer/config.toml --log-level debug
      STREAMER_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 streamer run
    """
    settings = _start(config, log_level)
    from streamer.service.daemon import run_daemon

    _run(lambda: run_daemon(settings))


@cli.command()
@click.option("-c", "--connection", metavar="NAME", help="This connection only.  [default: all]")
@click.option("-t", "--type", "types", metavar="TYPE", multiple=True, help="This entity type only; repeatable.")
@config_option
@log_level_option
def once(config: Path | None, log_level: str | None, connection: str | None, types: tuple[str, ...]) -> None:
    """One export of each chosen stream, then ends: for a cron job or a first try.

    An export that was left half-way is picked up first. Works alone: beside a daemon it says so, and exits
    with 1.

    \b
    Examples:
      streamer once
      streamer once -c alpine-hotels -t Reservation -t Customer
    """
    settings = _start(config, log_level)
    streams = chosen_streams(settings, connection, types)
    from streamer.service.once import run_once

    _run(lambda: run_once(settings, streams))


@cli.command()
@config_option
@log_level_option
def check(config: Path | None, log_level: str | None) -> None:
    """Whether settings, Kafka, Mews and clock are in order: one line each, with what to do.

    Changes nothing and asks for no export.

    \b
    Example:
      streamer check --config config.toml
    """
    # Its lines are the answer; what libraries have to say besides, also of errors, would hide them.
    settings = _start(config, log_level, default_level="critical")
    from streamer.service.check import run_check

    _run(lambda: run_check(settings))


def chosen_streams(config: Config, connection: str | None, types: tuple[str, ...]) -> tuple[StreamKey, ...]:
    """The streams that the arguments leave of the settings; ``ConfigError`` where one names nothing."""
    names = [str(c.name) for c in config.connections]
    if connection is not None and connection not in names:
        problem = f'there is no connection "{connection}"{suggestion(connection, names)}'
        raise ConfigError("", f"{problem}; the settings have {', '.join(names)}")
    streams = [key for key in config.streams() if connection is None or key.connection == connection]
    if not types:
        return tuple(streams)
    configured = list(dict.fromkeys(key.entity_type for key in streams))
    wanted = {_entity_type(text, configured) for text in types}
    return tuple(key for key in streams if key.entity_type in wanted)


def _entity_type(text: str, configured: list[EntityType]) -> EntityType:
    """The type that is meant, also as ``reservation`` or ``order-item``."""
    known = [t.value for t in configured]
    for entity_type in EntityType:
        if text.lower() in (entity_type.value.lower(), entity_type.slug):
            if entity_type in configured:
                return entity_type
            raise ConfigError("", f"{entity_type} is not exported; the settings have {', '.join(known)}")
    problem = f'there is no entity type "{text}"{suggestion(text, known)}'
    raise ConfigError("", f"{problem}; the settings have {', '.join(known)}")


def _start(config: Path | None, log_level: str | None, *, default_level: str = "info") -> Config:
    """Settings and logs, with what was said before the command where nothing was said after it."""
    before = click.get_current_context().find_root().params
    level = log_level or before.get("log_level") or default_level
    named = config or before.get("config") or os.environ.get("STREAMER_CONFIG") or "config.toml"
    settings = load_config(Path(named), environ=os.environ)
    configure_logs(level=level, secrets=settings.secrets())
    return settings


def _run(work: Callable[[], Awaitable[int]]) -> None:
    """Runs a command's coroutine to its end and makes its answer the exit code."""

    async def main() -> int:
        return await work()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(main())
    click.get_current_context().exit(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed; None stands for asyncio's own."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main() -> None:
    """The command ``streamer``."""
    cli(prog_name="streamer")


if __name__ == "__main__":
    main()
