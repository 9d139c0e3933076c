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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median

import click
import msgspec

from benchmarks.peers import Peer, peers
from benchmarks.ways import Daemon, Run, Runner, Setting
from streamer.sandbox.local_kafka import LocalKafka

DAEMONS = (
    Daemon("streamer"),
    Daemon("streamer-python", kernel="off"),
    Daemon("streamer-reconciling", reconcile=True),
    Daemon("streamer-once-or-more", delivery="at_least_once"),
    Daemon("streamer-python-once-or-more", delivery="at_least_once", kernel="off"),
)
NAIVE = "naive"
NAIVE_LINES = 200_000
"""So many lines go the naive way, since it is slow."""
PEERS = ("confluent", "franz-go", "kcat", "kcat-keyed")
WAYS = (*(daemon.name for daemon in DAEMONS), NAIVE, *PEERS)

Way = Callable[[Setting], Run]


def ways(runner: Runner, names: Iterable[str], known: Iterable[Peer], say: Callable[[str], None]) -> dict[str, Way]:
    """How each of the ways is run; leaves out, and says so, what is not installed."""
    chosen: dict[str, Way] = {}
    daemons = {daemon.name: daemon for daemon in DAEMONS}
    others = {peer.name: peer for peer in known}
    for name in names:
        if name == NAIVE:
            chosen[name] = lambda setting: runner.naive(setting, NAIVE_LINES)
        elif name in daemons:
            chosen[name] = lambda setting, daemon=daemons[name]: runner.daemon(setting, daemon)  # type: ignore[misc]
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


def table(runs: Iterable[Run]) -> str:
    """Medians in Markdown: a table for each length of lines, compression, headers and number of partitions."""
    groups: dict[tuple[int, str, bool, int], dict[str, list[Run]]] = {}
    for run in runs:
        if not run.wrong:
            setting = (run.line_bytes, run.compression, run.headers, run.partitions)
            groups.setdefault(setting, {}).setdefault(run.way, []).append(run)
    parts = []
    for (line_bytes, compression, headers, partitions), by_way in groups.items():
        own = _cpu(by_way.get("streamer") or next(iter(by_way.values())))
        rows = [
            f"\n{line_bytes:,} B a line, compression {compression}, {'five' if headers else 'no'} headers,"
            f" {partitions} partitions\n",
            "| way | rounds | records/s | MB/s | CPU s per million | peak MB | CPU time, streamer = 1 |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for way, group in sorted(by_way.items(), key=lambda item: _cpu(item[1])):
            rows.append(
                f"| {way} | {len(group)} | {median(run.records_per_second for run in group):,.0f}"
                f" | {median(run.megabytes_per_second for run in group):.0f} | {_cpu(group):.2f}"
                f" | {max(run.peak_bytes for run in group) / 1e6:.0f} | {_cpu(group) / own:.2f} |"
            )
        parts.append("\n".join(rows))
    return "\n".join(parts)


def _cpu(group: Iterable[Run]) -> float:
    return median(run.cpu_microseconds for run in group)


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
@click.option("--ways", "names", default=",".join(WAYS), help="Which, with commas between them.")
@click.option("--rounds", type=click.IntRange(1), default=5)
@click.option("--bytes", "export_bytes", type=click.IntRange(1_000_000), default=300_000_000, help="Of the export.")
@click.option("--line-bytes", type=click.IntRange(150), multiple=True, default=(430, 1410))
@click.option("--compression", type=click.Choice(["none", "zstd"]), default="none")
@click.option("--headers/--no-headers", default=True, help="Five of them, by those ways that can write them.")
@click.option("--partitions", type=click.IntRange(1), default=12)
@click.option("--pin/--no-pin", default=True, help="What is measured on one CPU, Kafka and the simulator on another.")
def run(
    results: Path,
    names: str,
    rounds: int,
    export_bytes: int,
    line_bytes: tuple[int, ...],
    compression: str,
    headers: bool,
    partitions: int,
    pin: bool,
) -> None:
    """Measure, and append each run to the file of results. Exits with 1 where a count was not exact."""
    if sys.platform != "linux":
        raise click.ClickException("the CPU time of another process can be read on Linux only")
    unknown = set(names.split(",")) - set(WAYS)
    if unknown:
        raise click.ClickException(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cpu = _pinned() if pin else None
    results.parent.mkdir(parents=True, exist_ok=True)
    exact = True
    with tempfile.TemporaryDirectory(prefix="streamer-benchmark-") as name, results.open("ab") as out:
        folder = Path(name)
        known = [peer for peer in peers(folder) if peer.headers or not headers]
        wanted = [name for name in names.split(",") if name not in PEERS or name in {peer.name for peer in known}]
        kafka = LocalKafka(folder / "kafka", broker_properties={"log.segment.delete.delay.ms": "1000"})
        with kafka:
            runner = Runner(kafka.bootstrap_servers, folder, cpu=cpu)
            chosen = ways(runner, wanted, known, lambda words: click.echo(words, err=True))
            for number in range(rounds):
                for length in line_bytes:
                    setting = Setting(length, compression, export_bytes, 1, headers, partitions)
                    for way, measure in in_turns(chosen, number):
                        done = measure(setting)
                        exact = exact and not done.wrong
                        out.write(msgspec.json.encode(done) + b"\n")
                        out.flush()
                        figures = (
                            f"{done.records_per_second:,.0f} records/s, {done.cpu_microseconds:.2f} µs of CPU each"
                        )
                        click.echo(f"{number} {length:,} B {way}: {done.wrong or figures}", err=True)
    sys.exit(0 if exact else 1)


def _pinned() -> int:
    """The CPU for what is measured; whatever else is started from here on has the others."""
    cpu, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise click.ClickException("--pin needs two CPUs")
    os.sched_setaffinity(0, {others[0]})
    return cpu


if __name__ == "__main__":
    main()
