"""``streamer once``: an export of each chosen stream, then the end. For a cron job, or a first try."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from rich.console import Console
from rich.live import Live
from rich.table import Table

from streamer.config import Config
from streamer.core.checkpoint import Checkpoint
from streamer.core.states import Stopped
from streamer.errors import FatalError
from streamer.metrics import Metrics
from streamer.model import StreamKey
from streamer.service.clock import Clock
from streamer.service.daemon import stopped_by_signals
from streamer.service.replica import Replica

log = structlog.get_logger()

_REFRESH_SECONDS = 0.5
_WIDTH_OF_A_FILE = 1000


async def run_once(config: Config, streams: Sequence[StreamKey]) -> int:
    """Publish one export of each stream; 0 when all are completed, 1 where one is stopped or paused, or SIGTERM came.

    Raises ``FatalError`` beside a running daemon and where Kafka can't be reached.
    """
    clock = Clock()
    replica = Replica(config, clock=clock, metrics=Metrics(), chosen=streams, once=True)
    console = Console()
    if not console.is_terminal:
        # In a file or a mail there is no width to keep to, and a reason that is cut up can't be searched for.
        console = Console(width=_WIDTH_OF_A_FILE)
    async with stopped_by_signals(clock):
        shown = asyncio.create_task(_show_progress(replica, streams, console)) if console.is_terminal else None
        try:
            await replica.run()
        finally:
            if shown is not None:
                shown.cancel()
                await asyncio.gather(shown, return_exceptions=True)
    if not replica.alone:
        raise FatalError(
            "another streamer works on these topics, so `once` has left them to it; stop it first, or use another "
            "topics.prefix"
        )
    done = {key: replica.streams[key].done for key in streams if key in replica.streams}
    console.print(_summary(streams, done))
    return 0 if all(_is_completed(done.get(key)) for key in streams) else 1


def _is_completed(checkpoint: Checkpoint | None) -> bool:
    return checkpoint is not None and not checkpoint.paused and not isinstance(checkpoint.state, Stopped)


def _summary(streams: Sequence[StreamKey], done: dict[StreamKey, Checkpoint | None]) -> Table:
    table = Table("stream", "outcome", "records", "dead letters", "bytes", box=None, pad_edge=False)
    for key in streams:
        checkpoint = done.get(key)
        if checkpoint is None:
            table.add_row(str(key), "not finished", "", "", "")
        elif isinstance(checkpoint.state, Stopped):
            table.add_row(str(key), f"stopped: {checkpoint.state.reason}", "", "", "")
        elif checkpoint.paused:
            table.add_row(str(key), "paused by a signal", "", "", "")
        elif (completed := checkpoint.snapshot or checkpoint.window) is not None:
            counts = completed.counts
            table.add_row(str(key), "completed", f"{counts.records:,}", f"{counts.dead_letters:,}", f"{counts.size:,}")
    return table


async def _show_progress(replica: Replica, streams: Sequence[StreamKey], console: Console) -> None:
    names = {str(key) for key in streams}
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while True:
            table = Table("stream", "phase", "bytes", "of", box=None, pad_edge=False)
            for row in replica.rows():
                if row["stream"] in names:
                    table.add_row(row["stream"], row["phase"], *_bytes(row["export"]))
            live.update(table, refresh=True)
            await asyncio.sleep(_REFRESH_SECONDS)


def _bytes(export: dict[str, Any] | None) -> tuple[str, str]:
    if not export or "bytes" not in export:
        return "", ""
    return f"{export['bytes']:,}", f"{export['bytes_total']:,}"
