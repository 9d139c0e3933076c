"""``streamer run``: a replica that works until a signal says otherwise."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from streamer import __version__
from streamer.config import Config
from streamer.metrics import Metrics
from streamer.service.clock import Clock
from streamer.service.replica import Replica
from streamer.tracing import configure_tracing

log = structlog.get_logger()


async def run_daemon(config: Config) -> int:
    """Work until SIGTERM or SIGINT, drain, and return exit code 0; 1 where a second signal cut the drain short.

    Raises ``ConfigError`` and ``FatalError``.
    """
    clock = Clock()
    streams = config.streams()
    log.info("starting", version=__version__, streams=len(streams))
    replica = Replica(config, clock=clock, metrics=Metrics(), chosen=streams)
    end_tracing = configure_tracing()
    async with stopped_by_signals(clock):
        try:
            await replica.run()
        except asyncio.CancelledError:
            log.warning("stopped_at_once")
            return 1
        finally:
            end_tracing()
    return 0


@asynccontextmanager
async def stopped_by_signals(clock: Clock) -> AsyncIterator[None]:
    """The first SIGTERM or SIGINT sets the clock's ``stopping``; a second one cancels the task that waits here."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def stop(name: str) -> None:
        if clock.stopping.is_set() and task is not None:
            task.cancel()
            return
        log.info("stopping", signal=name)
        clock.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
