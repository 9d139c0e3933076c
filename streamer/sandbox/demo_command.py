"""`streamer demo`: everything on this machine, from nothing."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import click
from rich.console import Console

from streamer.sandbox.demo import Demo, DemoOptions

DEFAULTS = DemoOptions()


async def _run(options: DemoOptions, console: Console) -> int:
    """The demo, with an exit code. A signal ends it, and it cleans up; further ones are not heard."""
    loop = asyncio.get_running_loop()
    work = asyncio.current_task()
    ended_by: list[signal.Signals] = []
    demo = Demo(options, console)

    def end(number: signal.Signals) -> None:
        if not ended_by and not demo.leave() and work is not None:
            ended_by.append(number)
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        code = await demo.run()
    except asyncio.CancelledError:
        if not ended_by:
            raise
        code = 128 + ended_by[0]
    if ended_by or options.keep:
        console.print("stopped; nothing was left behind")
    return code


@click.command()
@click.option("--keep", is_flag=True, help="Stay up after the end, until Ctrl-C: to look at topics and metrics.")
@click.option(
    "--entities",
    type=click.IntRange(1, 10_000_000),
    default=DEFAULTS.entities,
    show_default=True,
    help="Entities of each of the nine types; 1,000 make about 12 MB.",
)
@click.option("--seed", type=click.IntRange(0), default=DEFAULTS.seed, help="The same seed makes the same entities.")
@click.option(
    "--kill",
    "kills",
    type=click.IntRange(0, 20),
    default=0,
    metavar="N",
    help="kill -9 the daemon N times in the middle of a file.",
)
def demo(keep: bool, entities: int, seed: int, kills: int) -> None:
    """A real Apache Kafka, the Mews simulator and the daemon on this machine, from nothing.

    Needs neither Java nor Docker; the first run downloads Apache Kafka (44 MB). Ends by itself, after it has read
    all topics back and compared every record with the line it was made of. Leaves nothing behind.

    \b
    Examples:
      streamer demo
      streamer demo --kill 2
      streamer demo --keep --entities 5000
    """
    # A guest's name must not end the demo on a terminal that can't write it.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    options = DemoOptions(entities=entities, seed=seed, kills=kills, keep=keep)
    click.get_current_context().exit(asyncio.run(_run(options, Console(highlight=False))))
