"""``streamer check``."""

from __future__ import annotations

from pathlib import Path

import click

from streamer.commands.start import config_option, log_level_option, run_to_end, start


@click.command()
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
    settings = start(config, log_level, default_level="critical")
    from streamer.service.check import run_check

    run_to_end(lambda: run_check(settings))
