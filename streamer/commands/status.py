"""``streamer status``."""

from __future__ import annotations

import asyncio
from typing import Any

import click
from rich.live import Live
from rich.table import Table

from streamer.commands.start import (
    chosen_streams,
    json_option,
    over_kafka,
    run_to_end,
    start,
    start_options,
    stream_options,
)
from streamer.commands.tables import console, duration, moment, print_json, size, table
from streamer.config import Config

_REFRESH_SECONDS = 1.0
_COLOURS = {"stopped": "bold red", "unreadable": "bold red", "publishing": "green", "paused": "yellow"}
_NEEDS_SOMEBODY = {"stopped", "unreadable"}


@click.command()
@stream_options
@click.option("-w", "--watch", is_flag=True, help="Go on showing, until Ctrl-C; with --json a line every second.")
@json_option
@start_options
def status(
    connection: str | None,
    types: tuple[str, ...],
    watch: bool,
    as_json: bool,
) -> None:
    """A table of all streams: phase, progress, lag, last export, last error.

    Read from the checkpoints in Kafka, so it covers every replica and works from anywhere. Exits with 1 where a stream
    waits for a person. With -c or -t of these streams alone.

    \b
    Examples:
      streamer status
      streamer status --watch
      streamer status --json | jq -r '.streams[] | select(.error) | .stream + ": " + .error'
    """
    settings = start(default_level="error")
    names = {str(key) for key in chosen_streams(settings, connection, types)}
    everything = connection is None and not types
    run_to_end(lambda: _status(settings, None if everything else names, watch=watch, as_json=as_json))


async def _status(config: Config, chosen: set[str] | None, *, watch: bool, as_json: bool) -> int:
    from streamer.kafka.cluster import replicas_at_work
    from streamer.service.clock import utc_now
    from streamer.service.looking import stream_table
    from streamer.service.status import stream_rows

    async with over_kafka(config), stream_table(config) as entries:

        def rows() -> list[dict[str, Any]]:
            found = stream_rows(config.streams(), entries, now=utc_now())
            return [row for row in found if chosen is None or row["stream"] in chosen]

        replicas = await replicas_at_work(config)
        shown = rows()
        if as_json:
            print_json({"replicas": replicas, "streams": shown})
            while watch:
                await asyncio.sleep(_REFRESH_SECONDS)
                print_json({"replicas": replicas, "streams": rows()})
        elif watch:
            with Live(console=console(), auto_refresh=False) as live:
                while True:
                    live.update(_table(rows()), refresh=True)
                    await asyncio.sleep(_REFRESH_SECONDS)
        else:
            out = console()
            out.print(_table(shown))
            at_work = f"{replicas} replica(s) at work" if replicas else "no replica is at work: start `streamer run`"
            out.print(f"\n{at_work}", style="" if replicas else "yellow")
    return 1 if any(row["phase"] in _NEEDS_SOMEBODY for row in shown) else 0


def _table(rows: list[dict[str, Any]]) -> Table:
    shown = table("stream", "phase", "progress", "lag", "last export", "last error", right=["lag"])
    for row in rows:
        last = max(filter(None, (row.get("last_snapshot"), row.get("last_window"))), key=_completed_at, default=None)
        phase = "paused" if row.get("paused") else row["phase"]
        shown.add_row(
            row["stream"],
            phase,
            progress(row),
            duration(row.get("lag_seconds")),
            ", ".join([*_told_of(last), *([f"keeps {row['kept_out']} erased out"] if row.get("kept_out") else [])]),
            f"{row['error']} ({moment(row.get('error_at'))})" if row.get("error_at") else row.get("error") or "",
            style=_COLOURS.get(phase, ""),
        )
    return shown


def _completed_at(completed: dict[str, Any]) -> Any:
    return completed["completed_at"]


def _told_of(completed: dict[str, Any] | None) -> list[str]:
    """What an export came to: ``12 records, 3 unchanged, 1 gone``, what was withheld, and when."""
    if completed is None:
        return []
    more = [("unchanged", "unchanged"), ("tombstones", "gone"), ("dead_letters", "dead letters"), ("erased", "erased")]
    parts = [f"{completed[name]:,} {word}" for name, word in more if completed[name]]
    if completed["tombstones_withheld"]:
        parts.append(f"{completed['tombstones_withheld']:,} tombstones withheld: {completed['withheld_why']}")
    return [f"{completed['records']:,} records", *parts, moment(completed["completed_at"])]


def progress(row: dict[str, Any]) -> str:
    """How far the export under way is: ``34% of 12.3 MB, file 2 of 8``; nothing where none is."""
    export = row.get("export")
    if not export or "bytes_total" not in export:
        return ""
    share = export["bytes"] / export["bytes_total"] if export["bytes_total"] else 1.0
    file = min(export["file"] + 1, export["files"])
    return f"{share:.0%} of {size(export['bytes_total'])}, file {file} of {export['files']}"
