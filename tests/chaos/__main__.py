"""``python -m tests.chaos``: chaos for some minutes, and exit code 1 if anything was lost, doubled or told."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
import structlog

from tests.chaos.report import figures, table
from tests.chaos.run import run
from tests.chaos.stage import Settings

DEFAULTS = Settings()


def say(line: str) -> None:
    """At once, also into a file."""
    click.echo(f"{time.strftime('%H:%M:%S')} {line}")
    sys.stdout.flush()


@click.command(context_settings={"show_default": True})
@click.option("--minutes", type=click.FloatRange(0.1), default=DEFAULTS.minutes, help="How long.")
@click.option("--seed", type=int, help="Repeats the schedule of an earlier run.", show_default="by chance")
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", help="Three replicate to one another.")
@click.option("--entities", type=click.IntRange(100), default=DEFAULTS.entities, help="Lines of an export.")
@click.option("--lifelike", is_flag=True, help="Lines like those of Mews instead of short plain ones.")
@click.option("--session-timeout", type=click.FloatRange(3), default=DEFAULTS.session_timeout, help="In seconds.")
@click.option("--pause", type=click.FloatRange(0.1), default=DEFAULTS.pause, help="Times the time between kills.")
@click.option("--reconcile", is_flag=True, help="Compare snapshots with their topics: few records, many left out.")
@click.option("--recovery", type=click.IntRange(1), help="Measure so many recoveries of each kind instead.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--report", "report_file", type=click.Path(path_type=Path), help="Write the tables to this file.")
@click.option("--keep", type=click.Path(path_type=Path), help="Leave topics and logs in this folder.")
def main(
    *,
    minutes: float,
    seed: int | None,
    brokers: str,
    entities: int,
    lifelike: bool,
    session_timeout: float,
    pause: float,
    reconcile: bool,
    recovery: int | None,
    json_file: Path | None,
    report_file: Path | None,
    keep: Path | None,
) -> None:
    """Kills, freezes, cuts and spoils everything for some minutes, and then proves that nothing was lost or doubled.

    The seed decides what is done, to which instants and in which order; which bytes meet it is up to the machine.
    """
    settings = Settings(
        seed=seed if seed is not None else random.SystemRandom().randrange(10**6),
        minutes=minutes,
        brokers=int(brokers),
        entities=entities,
        lifelike=lifelike,
        session_timeout=session_timeout,
        pause=pause,
        reconcile=reconcile,
        recovery=recovery or 0,
    )
    # The simulator has a lot to say.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    say(f"seed {settings.seed}: {settings}")
    if keep is not None:
        keep.mkdir(parents=True)
    directory = keep or Path(tempfile.mkdtemp(prefix="streamer-chaos-"))
    kept = keep is not None
    try:
        outcome = asyncio.run(run(settings, directory, say))
        report = figures(outcome)
        if json_file is not None:
            json_file.write_text(json.dumps(report, indent=1) + "\n")
        if report_file is not None:
            report_file.write_text(table(report))
        say("the tables:\n\n" + table(report))
        for difference in outcome.found:
            click.echo(f"FOUND {difference}", err=True)
        if outcome.found:
            kept = True
            sys.exit(1)
        say(f"nothing lost, nothing doubled, nothing told; seed {settings.seed}")
    except Exception:
        kept = True
        raise
    finally:
        if kept:
            say(f"topics and logs: {directory}; seed {settings.seed}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
