"""``streamer dead-letters``: lines that could not become a record, and why."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import aclosing
from typing import TYPE_CHECKING

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
from streamer.commands.tables import console, moment, print_json, table
from streamer.config import Config
from streamer.errors import FatalError
from streamer.model import StreamKey

if TYPE_CHECKING:
    from streamer.core.letters import Letter


@click.group()
def dead_letters() -> None:
    """Lines that could not become a record, with reason and position. They are kept for 30 days.

    \b
    Examples:
      streamer dead-letters list -t Reservation
      streamer dead-letters show 0f9c2a74-6d1e-4b53-9c1a-b35500a1d2e3/0/48213
      streamer dead-letters replay 0f9c2a74-6d1e-4b53-9c1a-b35500a1d2e3/0/48213
    """


@dead_letters.command("list")
@stream_options
@json_option
@start_options
def list_(connection: str | None, types: tuple[str, ...], as_json: bool) -> None:
    """All that are kept, the oldest first, without their bytes."""
    settings = start(default_level="error")
    streams = chosen_streams(settings, connection, types)
    run_to_end(lambda: _list(settings, streams, as_json=as_json))


@dead_letters.command()
@click.argument("ce_id", metavar="ID")
@click.option("--raw", is_flag=True, help="The bytes that are kept of the line, and nothing else.")
@start_options
def show(ce_id: str, raw: bool) -> None:
    """One of them, by its ce_id: what is known of it, whether it would be refused again, and its bytes.

    The bytes may be personal data.
    """
    settings = start(default_level="error")
    run_to_end(lambda: _show(settings, ce_id, raw=raw))


@dead_letters.command()
@click.argument("ce_ids", metavar="ID...", nargs=-1, required=True)
@start_options
def replay(ce_ids: tuple[str, ...]) -> None:
    """Have lines published that would not be refused any more, each under its own ce_id.

    The running streams do it, by their own settings: restart them first where those were what was wrong. Each answers
    in the topic of events, with signal_applied or signal_rejected. A line is not published where the topic has
    something newer of its entity, nor amid an export. Exits with 1 where nothing could be asked for.
    """
    settings = start(default_level="error")
    run_to_end(lambda: _replay(settings, dict.fromkeys(ce_ids)))


async def _list(config: Config, streams: tuple[StreamKey, ...], *, as_json: bool) -> int:
    from streamer.service.dead_letters import read_letters

    async with over_kafka(config), aclosing(read_letters(config, streams)) as found:
        letters = sorted([letter async for letter, _ in found], key=lambda letter: (letter.at, letter.ce_id))
    if as_json:
        print_json(letters)
        return 0
    shown = table("at", "stream", "reason", "file", "line", "bytes", "id", right=("file", "line", "bytes"))
    for letter in letters:
        shown.add_row(
            moment(letter.at),
            letter.stream,
            letter.reason,
            str(letter.file),
            str(letter.line),
            f"{letter.length:,}",
            letter.ce_id,
        )
    console().print(shown)
    return 0


async def _show(config: Config, ce_id: str, *, raw: bool) -> int:
    from streamer.core.letters import still_refused
    from streamer.service.dead_letters import read_letters

    async with over_kafka(config), aclosing(read_letters(config, config.streams())) as found:
        kept = [(letter, value) async for letter, value in found if letter.ce_id == ce_id]
    if not kept:
        raise FatalError(f"there is no dead letter {ce_id}; `streamer dead-letters list` has those that are kept")
    letter, value = kept[-1]
    if raw:
        click.echo(value, nl=False)
        return 0
    _print(letter, value, still_refused(letter, value, max_line_bytes=config.exports.max_line_bytes))
    return 0


async def _replay(config: Config, ce_ids: Collection[str]) -> int:
    from streamer.core.letters import still_refused
    from streamer.core.signals import Replay
    from streamer.kafka.signals import write_signal
    from streamer.service.dead_letters import read_letters

    kept: dict[str, tuple[Letter, bytes]] = {}
    async with over_kafka(config), aclosing(read_letters(config, config.streams())) as found:
        async for letter, value in found:
            if letter.ce_id in ce_ids:
                kept[letter.ce_id] = letter, value
    problems = 0
    for ce_id in ce_ids:
        refused = "there is no such dead letter"
        if ce_id in kept:
            letter, value = kept[ce_id]
            refused = still_refused(letter, value, max_line_bytes=config.exports.max_line_bytes)
        if refused:
            problems += 1
            click.echo(f"{ce_id}: {refused}")
            continue
        asked = Replay(ce_id, letter.partition, letter.record_offset)
        offset = await write_signal(config, letter.stream, asked)
        click.echo(f"{ce_id}: written to {config.topics.signals} at offset {offset}")
    return 1 if problems else 0


def _print(letter: Letter, value: bytes, refused: str) -> None:
    rows = {
        "id": letter.ce_id,
        "stream": letter.stream,
        "at": moment(letter.at),
        "reason": f"{letter.reason}: {letter.message}",
        "place": f"file {letter.file}, line {letter.line}, byte {letter.offset}",
        "length": f"{letter.length:,} bytes, {letter.kept:,} kept",
        "now": f"refused again: {refused}" if refused else "would become a record, with the settings as they are",
    }
    if letter.digest:
        rows["digest"] = letter.digest
    for name, text in rows.items():
        click.echo(f"{name:8}{text}")
    if value:
        click.echo(value.decode(errors="backslashreplace"))
