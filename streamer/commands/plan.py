"""``streamer plan``."""

from __future__ import annotations

import click

from streamer.commands.start import (
    chosen_streams,
    json_option,
    over_kafka,
    run_to_end,
    start,
    start_options,
    stream_options,
)
from streamer.commands.tables import console, duration, moment, print_json, table
from streamer.config import Config
from streamer.model import StreamKey


@click.command()
@stream_options
@json_option
@start_options
def plan(connection: str | None, types: tuple[str, ...], as_json: bool) -> None:
    """What `streamer run` would ask Mews for now, and when it would next, without asking for anything.

    Reads the checkpoints alone; Mews is not called.

    \b
    Examples:
      streamer plan
      streamer plan -c alpine-hotels --json
    """
    settings = start(default_level="error")
    streams = chosen_streams(settings, connection, types)
    run_to_end(lambda: _plan(settings, streams, as_json=as_json))


async def _plan(config: Config, streams: tuple[StreamKey, ...], *, as_json: bool) -> int:
    from streamer.service.clock import utc_now
    from streamer.service.planning import plans

    now = utc_now()
    async with over_kafka(config):
        rows = await plans(config, streams, now=now)
    if as_json:
        print_json({"at": now, "streams": [{"stream": str(key), **planned} for key, planned in rows]})
        return 0
    shown = table("stream", "next", "kind", "window", "when")
    for key, planned in rows:
        window, at = planned["window"], planned["at"]
        when = f"in {duration((at - now).total_seconds())} ({moment(at)})" if at else "now" if planned["kind"] else ""
        between = f"{moment(window.start)} to {moment(window.end)}" if window else ""
        shown.add_row(str(key), planned["does"], planned["kind"] or "", between, when)
    console().print(shown)
    return 0
