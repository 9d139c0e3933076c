"""``streamer run``."""

from __future__ import annotations

from pathlib import Path

import click

from streamer.commands.start import config_option, log_level_option, run_to_end, start


@click.command()
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
    settings = start(config, log_level)
    from streamer.service.daemon import run_daemon

    run_to_end(lambda: run_daemon(settings))
