"""``streamer run``."""

from __future__ import annotations

import click

from streamer.commands.start import run_to_end, start, start_options


@click.command()
@start_options
def run() -> None:
    """The daemon: exports, publishes, and goes on until told to stop.

    SIGTERM or Ctrl-C: stops asking, commits what is in hand, leaves. A second one: leaves at once.

    \b
    Examples:
      streamer run
      streamer run --config /etc/streamer/config.toml --log-level debug
      STREAMER_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 streamer run
    """
    settings = start()
    from streamer.service.daemon import run_daemon

    run_to_end(lambda: run_daemon(settings))
