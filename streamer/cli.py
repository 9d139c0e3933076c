"""The command line: the table of commands, exit codes, and one sentence for whatever goes wrong.

Exit codes: 0 done; 1 a person must look; 2 usage or configuration; 130 interrupted. A command is imported when it
is asked for, and what it does lies behind a further import, so that ``--help`` is quick and the daemon never loads
the sandbox.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import Any

import click
import structlog

from streamer.commands.start import start_logs, start_options
from streamer.errors import ConfigError, StreamerError
from streamer.logs import scrub

COMMANDS = {
    "Publish": {
        "run": ("streamer.commands.run", "The daemon: exports, publishes, and goes on until told to stop."),
        "once": ("streamer.commands.once", "One export of each chosen stream, then ends."),
    },
    "Look": {
        "check": ("streamer.commands.check", "Whether settings, Kafka, Mews and clock are in order."),
        "plan": ("streamer.commands.plan", "What run would ask Mews for now, without asking."),
        "status": ("streamer.commands.status", "All streams: phase, progress, lag, last export, last error."),
        "verify": ("streamer.commands.verify", "Proves from the topics that every line is there exactly once."),
        "dead-letters": ("streamer.commands.dead_letters", "Lines that could not become a record, and why."),
    },
    "Act": {
        "signal": ("streamer.commands.signal", "Pause, resume, retry and the like: tells running streams what to do."),
    },
    "Try": {
        "demo": ("streamer.sandbox.demo_command", "A real Kafka, the simulator and the daemon here, from nothing."),
        "simulator": (
            "streamer.sandbox.simulator_command",
            "The Mews API with its whole lifecycle, and faults to order.",
        ),
    },
    "Set up": {
        "contract": ("streamer.commands.contract", "Topics, headers and schemas for consumers, as files."),
        "completion": ("streamer.commands.completion", "What makes the shell complete commands and options."),
    },
}
"""Section of ``--help``: command: its module, and what ``--help`` says without importing it.

The module has the command under its own name, ``dead-letters`` as ``dead_letters``.
"""

_PLACES = {name: place for section in COMMANDS.values() for name, place in section.items()}


class _Failed(click.ClickException):
    """One sentence on stderr, and the exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(scrub(message))

    def show(self, file: Any = None) -> None:
        click.echo(f"streamer: {self.message}", file=file or sys.stderr)


class _WronglyConfigured(_Failed):
    exit_code = 2


class _Commands(click.Group):
    """The commands of the table, imported when asked for; errors become sentences here."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_PLACES)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _PLACES:
            return None
        module = importlib.import_module(_PLACES[cmd_name][0])
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 (for mypy; the names are written above)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in COMMANDS.items():
            with formatter.section(title):
                width = max(map(len, _PLACES))
                formatter.write_dl([(name.ljust(width), text) for name, (_, text) in section.items()])

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


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 a person must look; 2 usage or configuration.",
)
@click.version_option(_version(), message="%(prog)s %(version)s")
@start_options
def cli() -> None:
    """Keeps Apache Kafka topics in step with a Mews property-management system, exactly once.

    \b
    See it work, with nothing set up:    streamer demo   (with the extra "demo")
    Then, with config.example.toml copied to config.toml and filled in:
      is everything in place?            streamer check
      publish everything once            streamer once
      keep publishing                    streamer run
    """
    # Whatever goes wrong from here on is told without secrets, also before the settings are read.
    start_logs()


def main() -> None:
    """The command ``streamer``."""
    cli(prog_name="streamer")


if __name__ == "__main__":
    main()
