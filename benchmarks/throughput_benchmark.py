"""Publishes the same lines through the daemon and through what else one would run for the job; `table` sums it up.

All ways in turns, in every round another one first, each run checked for exact counts and appended to a file of
results: a long benchmark can be made in pieces, and nothing is lost where one is cut short. The clock and the CPU time
of each run begin with the first byte of the file, and end when all of it is acknowledged (for the daemon: committed).
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from benchmarks.connect import Connect
from benchmarks.daemons import Daemon
from benchmarks.file_host import FileHost
from benchmarks.peers import Peer, peers
from benchmarks.runs import ENTITY_TYPES, Run, Setting
from benchmarks.tables import table
from benchmarks.ways import Runner
from streamer.sandbox.local_kafka import LocalKafka

DAEMONS = (
    Daemon("streamer"),
    Daemon("streamer-python", kernel="off"),
    Daemon("streamer-reconciling", reconcile=True),
    Daemon("streamer-block-times", module="benchmarks.block_times"),
    Daemon("streamer-second-export", exports_before=1),
    Daemon("streamer-once-or-more", delivery="at_least_once"),
    Daemon("streamer-python-once-or-more", delivery="at_least_once", kernel="off"),
    Daemon(f"streamer-{len(ENTITY_TYPES)}-exports", streams=len(ENTITY_TYPES)),
    Daemon(f"streamer-{len(ENTITY_TYPES)}-exports-2-processes", streams=len(ENTITY_TYPES), processes=2),
)
CONNECTS = (Connect("connect", interval=False), Connect("connect-2-seconds", interval=True))
PEERS = ("naive", "batch-script", "confluent", "franz-go", "kcat", "kcat-keyed", "bento")
WAYS = (*(way.name for way in (*DAEMONS, *CONNECTS)), *PEERS)
USUAL = ("streamer", "streamer-python", *PEERS, "connect-2-seconds")

Way = Callable[[Setting], Run]


def ways(
    runner: Runner, names: Iterable[str], known: Iterable[Peer], host: FileHost | None, say: Callable[[str], None]
) -> dict[str, Way]:
    """How each of the ways is run; leaves out, and says so, what is not installed."""
    chosen: dict[str, Way] = {}
    daemons = {daemon.name: daemon for daemon in DAEMONS}
    connects = {connect.name: connect for connect in CONNECTS}
    others = {peer.name: peer for peer in known}
    for name in names:
        if name in daemons:
            chosen[name] = lambda setting, daemon=daemons[name]: runner.daemon(setting, daemon)  # type: ignore[misc]
        elif name in connects and host is None:
            say(f"{name} is left out: nginx is not installed")
        elif name in connects:
            chosen[name] = lambda setting, connect=connects[name]: runner.connect(setting, connect)  # type: ignore[misc]
        elif others[name].missing:
            say(f"{name} is left out: {others[name].missing}")
        else:
            chosen[name] = lambda setting, peer=others[name]: runner.peer(setting, peer)  # type: ignore[misc]
    return chosen


def in_turns(ways: Mapping[str, Way], number: int) -> list[tuple[str, Way]]:
    """The ways of one round: in every round another one first."""
    turned = list(ways.items())
    first = number % len(turned)
    return turned[first:] + turned[:first]


_results = click.option("--results", type=click.Path(path_type=Path), default=Path("build/throughput.jsonl"))


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure the daemon beside what else one would run for the job, and sum up what was measured."""


@main.command("table")
@_results
def summed_up(results: Path) -> None:
    """Print medians of all runs in the file of results."""
    click.echo(table(msgspec.json.decode(line, type=Run) for line in results.read_bytes().splitlines()))


@main.command()
@_results
@click.option("--ways", "names", default=",".join(USUAL), help=f"Of {', '.join(WAYS)}.")
@click.option("--rounds", type=click.IntRange(1), default=5)
@click.option("--warm-up", type=click.IntRange(0), default=4, help="Runs of the first way that do not count.")
@click.option("--first-round", type=click.IntRange(0), default=0, help="Which way begins, for rounds made in pieces.")
@click.option(
    "--bytes",
    "export_bytes",
    type=click.IntRange(1_000_000),
    multiple=True,
    default=(200_000_000,),
    help="Of an export; several sizes take turns.",
)
@click.option("--files", type=click.IntRange(1), default=1, help="Of an export; more than one by the daemon alone.")
@click.option("--line-bytes", type=click.IntRange(150), multiple=True, default=(430, 1410))
@click.option("--compression", type=click.Choice(["none", "zstd"]), default="none")
@click.option("--headers/--no-headers", default=True, help="Five of them, by those ways that can write them.")
@click.option("--partitions", type=click.IntRange(1), multiple=True, default=(12,))
@click.option(
    "--pin/--no-pin", default=True, help="What is measured on one CPU, Kafka and the host of files on another."
)
@click.option("--most-seconds", type=click.IntRange(1), default=86_400, help="Begin no run after so long.")
def run(
    results: Path,
    names: str,
    rounds: int,
    warm_up: int,
    first_round: int,
    export_bytes: tuple[int, ...],
    files: int,
    line_bytes: tuple[int, ...],
    compression: str,
    headers: bool,
    partitions: tuple[int, ...],
    pin: bool,
    most_seconds: int,
) -> None:
    """Measure, and append each run to the file of results. Exits with 1 where a count was not exact."""
    if sys.platform != "linux":
        raise click.ClickException("the CPU time of another process can be read on Linux only")
    unknown = set(names.split(",")) - set(WAYS)
    if unknown:
        raise click.ClickException(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    deadline = time.monotonic() + most_seconds
    cpus = _pinned() if pin else ()
    results.parent.mkdir(parents=True, exist_ok=True)
    exact = True
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-benchmark-")))
        out = stack.enter_context(results.open("ab"))
        kafka = LocalKafka(folder / "kafka", broker_properties={"log.segment.delete.delay.ms": "1000"})
        stack.enter_context(kafka)
        host = FileHost.here(folder / "host")
        if host is not None:
            stack.enter_context(host)
        runner = Runner(kafka, folder, cpus=cpus, host=host)
        known = [peer for peer in peers(folder, set(names.split(","))) if peer.headers or not headers]
        able = {peer.name for peer in known} | (
            set(WAYS) - set(PEERS) - ({c.name for c in CONNECTS} if headers else set())
        )
        wanted = [name for name in names.split(",") if name in able]
        chosen = ways(runner, wanted, known, host, lambda words: click.echo(words, err=True))
        settings = [
            Setting(length, compression, size, files, headers, count)
            for length in line_bytes
            for size in export_bytes
            for count in partitions
        ]
        for way in list(chosen.values())[:1] * warm_up:
            # A broker that has just started takes half as much a second until its JVM has compiled what it runs.
            way(settings[0])
        for number in range(first_round, first_round + rounds):
            for setting in settings:
                for name, measure in in_turns(chosen, number):
                    if time.monotonic() > deadline:
                        click.echo(f"left off before {number} {_named(setting)} {name}", err=True)
                        sys.exit(0 if exact else 1)
                    done = measure(setting)
                    exact = exact and not done.wrong
                    out.write(msgspec.json.encode(done) + b"\n")
                    out.flush()
                    click.echo(f"{number} {_named(setting)} {name}: {_told(done)}", err=True)
    sys.exit(0 if exact else 1)


def _named(setting: Setting) -> str:
    return f"{setting.export_bytes / 1e6:,.0f} MB of {setting.line_bytes:,} B in {setting.partitions} partitions,"


def _told(run: Run) -> str:
    if run.wrong:
        return run.wrong
    late = "" if run.late_seconds is None else f", loop at most {run.late_seconds * 1000:g} ms late"
    if run.sleeper_late_seconds is not None:
        late += f" (who only slept {run.sleeper_late_seconds * 1000:.0f})"
    return f"{run.records_per_second:,.0f} records/s, {run.cpu_microseconds:.2f} µs of CPU each{late}"


def _pinned() -> tuple[int, ...]:
    """The CPUs for what is measured, the first for one process; whatever is started from here on has the others."""
    cpu, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise click.ClickException("--pin needs two CPUs")
    os.sched_setaffinity(0, set(others))
    return (cpu, others[0])


if __name__ == "__main__":
    main()
