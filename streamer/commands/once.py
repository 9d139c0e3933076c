"""``streamer once``."""

from __future__ import annotations

import click

from streamer.commands.start import (
    chosen_streams,
    run_to_end,
    start,
    start_options,
    stream_options,
)


@click.command()
@stream_options
@start_options
def once(connection: str | None, types: tuple[str, ...]) -> None:
    """One export of each chosen stream, then ends: for a cron job or a first try.

    An export that was left half-way is picked up first. Works alone: beside a daemon it says so, and exits
    with 1.

    \b
    Examples:
      streamer once
      streamer once -c alpine-hotels -t Reservation -t Customer
    """
    settings = start()
    streams = chosen_streams(settings, connection, types)
    from streamer.service.once import run_once

    run_to_end(lambda: run_once(settings, streams))
