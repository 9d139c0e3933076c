"""What the commands share: the options that all take, settings and logs, and the loop that runs their work."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from streamer.config import Config, load_config
from streamer.config_values import suggestion
from streamer.errors import ConfigError, FatalError, KafkaUnavailableError
from streamer.logs import LEVELS, configure_logs
from streamer.model import EntityType, Secret, StreamKey

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """``--config``, before the command or after it; see ``named_config``."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The settings.  [default: STREAMER_CONFIG, else config.toml]",
        expose_value=False,
        callback=_remember,
    )(command)


def start_options(command: F) -> F:
    """``--config`` and ``--log-level``, before the command or after it; for ``start``."""
    log_level = click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        help="How much to log, on stderr.  [default: info for run and once, critical for check, else error]",
        expose_value=False,
        callback=_remember,
    )
    return config_option(log_level(command))


def _remember(context: click.Context, option: click.Parameter, value: object) -> None:
    """What is said after the command replaces what was said before it."""
    if value is not None:
        context.meta[f"{__name__}.{option.name}"] = value


def _remembered(name: str) -> Any:
    return click.get_current_context().meta.get(f"{__name__}.{name}")


def named_config() -> Path | None:
    """The file with the settings, None where nobody has named one."""
    named = _remembered("config") or os.environ.get("STREAMER_CONFIG")
    return Path(named) if named else None


def json_option(command: F) -> F:
    """``--json``, as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of words, for programs.")(
        command
    )


def start(*, default_level: str = "info") -> Config:
    """Settings and logs, as the options say."""
    settings = load_config(named_config() or Path("config.toml"), environ=os.environ)
    start_logs(default_level=default_level, secrets=settings.secrets())
    return settings


def start_logs(*, default_level: str = "info", secrets: Sequence[Secret] = ()) -> None:
    """Logs, as the options say, without these secrets."""
    configure_logs(level=_remembered("log_level") or default_level, secrets=secrets)


def run_to_end(work: Callable[[], Awaitable[int]]) -> None:
    """Runs a command's coroutine to its end and makes its answer the exit code."""

    async def main() -> int:
        return await work()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(main())
    click.get_current_context().exit(code)


@asynccontextmanager
async def over_kafka(config: Config) -> AsyncIterator[None]:
    """Around work that can do nothing without Kafka: says where it was looked for, and what tells more."""
    try:
        yield
    except KafkaUnavailableError as error:
        servers = ", ".join(config.kafka.bootstrap_servers)
        problem = f"Kafka can't be used at {servers} (kafka.bootstrap_servers): {error}; `streamer check` says more"
        raise FatalError(problem) from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed; None stands for asyncio's own."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def stream_options(command: F) -> F:
    """``-c`` and ``-t``: which streams; see ``chosen_streams``."""
    command = click.option(
        "-t", "--type", "types", metavar="TYPE", multiple=True, help="This entity type only; repeatable."
    )(command)
    return click.option("-c", "--connection", metavar="NAME", help="This connection only.  [default: all]")(command)


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
