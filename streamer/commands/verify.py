"""``streamer verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.status import Status

from streamer.commands.start import (
    chosen_streams,
    json_option,
    over_kafka,
    run_to_end,
    start,
    start_options,
    stream_options,
)
from streamer.commands.tables import console, moment, print_json, table
from streamer.config import Config
from streamer.model import StreamKey

if TYPE_CHECKING:
    from streamer.service.verifying import Verdict


@click.command()
@stream_options
@json_option
@start_options
def verify(connection: str | None, types: tuple[str, ...], as_json: bool) -> None:
    """Reads the topics and proves or disproves that every line of every completed export is there exactly once.

    Compares with the events in PREFIX.exports: records, tombstones, digests and offsets in each partition, repeats,
    gaps, dead letters. Line by line while nothing can have been compacted away (min.compaction.lag.ms, a day by
    default); of older exports, that nothing contradicts. Changes nothing; may be run beside a daemon. Exits with 1
    and the first differences.

    \b
    Examples:
      streamer verify
      streamer verify -t Reservation
      streamer verify --json | jq '.exports[] | select(.differences != [])'
    """
    settings = start(default_level="error")
    streams = chosen_streams(settings, connection, types)
    run_to_end(lambda: _verify(settings, streams, as_json=as_json))


async def _verify(config: Config, streams: tuple[StreamKey, ...], *, as_json: bool) -> int:
    from streamer.service.clock import utc_now
    from streamer.service.verifying import verify

    out = console()
    with out.status("reading the topics") if out.is_terminal and not as_json else _NoStatus() as status:

        def progress(topic: str, read: int) -> None:
            if isinstance(status, Status):
                status.update(f"{topic}: {read:,} records read")

        async with over_kafka(config):
            verdict = await verify(config, streams, now=utc_now(), progress=progress)
    if as_json:
        print_json(verdict)
    else:
        _print(verdict)
    return 1 if verdict.count else 0


def _print(verdict: Verdict) -> None:
    out = console()
    columns = ("stream", "export", "completed", "records", "found", "dead letters", "verdict")
    shown = table(*columns, right=("records", "found", "dead letters"))
    for export in sorted(verdict.exports, key=lambda e: (e.stream, e.completed_at)):
        if export.differences:
            said = export.differences[0]
        elif export.line_by_line:
            said = "proved line by line"
        else:
            said = "nothing contradicts (compaction may have begun)"
        if export.repeats and not export.differences:
            said += f", {export.repeats:,} repeats"
        shown.add_row(
            export.stream,
            f"{export.export_id} ({export.kind})",
            moment(export.completed_at),
            f"{export.records:,}",
            f"{export.found:,}",
            f"{export.dead_letters:,}",
            said,
            style="bold red" if export.differences else "",
        )
    out.print(shown)
    for difference in verdict.differences:
        out.print(difference, style="bold red", soft_wrap=True)
    out.print(
        f"\n{len(verdict.exports)} completed exports, {verdict.cut_short} cut short, {verdict.open} under way; "
        f"{verdict.records:,} records read"
        + (f", {verdict.nameless:,} without headers belong to no export" if verdict.nameless else "")
        + f"; {verdict.count or 'no'} difference{'' if verdict.count == 1 else 's'}"
    )


class _NoStatus:
    """In the place of a spinner, where nobody looks on."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
