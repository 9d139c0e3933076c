"""Publishes an export through the daemon, and part of it the naive way, and prints what each took.

Starts a real Apache Kafka and, for each run, a simulator and the process that is measured. Every run is checked: the
topic must hold exactly as many records and bytes as were to be published. Compare the ways, not the machines: both are
measured in the same rounds.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

import click
import msgspec

from benchmarks.ways import DAEMON, NAIVE, Run, Runner, Setting
from streamer.sandbox.local_kafka import LocalKafka


class Row(msgspec.Struct, frozen=True):
    """One way with one setting: medians over the rounds, but the highest peak."""

    line_bytes: int
    compression: str
    way: str
    records: int
    rounds: int
    records_per_second: float
    megabytes_per_second: float
    cpu_seconds: float
    startup_cpu_seconds: float
    cpu_microseconds_per_record: float
    peak_megabytes: float
    times_naive: float
    """Records per CPU second, as a multiple of the naive way's in the same round."""


def measure(runner: Runner, settings: Iterable[Setting], *, rounds: int, naive_lines: int) -> Iterator[Run]:
    """The ways in turns, in every round the other one first."""
    for number in range(rounds):
        for setting in settings:
            for way in (DAEMON, NAIVE) if number % 2 == 0 else (NAIVE, DAEMON):
                yield runner.daemon(setting) if way == DAEMON else runner.naive(setting, naive_lines)


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """One row for each way and setting, in the order of their first runs."""
    groups: dict[tuple[int, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.line_bytes, run.compression, run.way), []).append(run)
    rows = []
    for (line_bytes, compression, way), group in groups.items():
        naive = groups.get((line_bytes, compression, NAIVE), group)
        rows.append(
            Row(
                line_bytes=line_bytes,
                compression=compression,
                way=way,
                records=group[0].records,
                rounds=len(group),
                records_per_second=median(run.records_per_second for run in group),
                megabytes_per_second=median(run.megabytes_per_second for run in group),
                cpu_seconds=median(run.cpu_seconds for run in group),
                startup_cpu_seconds=median(run.startup_cpu_seconds for run in group),
                cpu_microseconds_per_record=median(run.cpu_microseconds for run in group),
                peak_megabytes=max(run.peak_bytes for run in group) / 1e6,
                times_naive=median(
                    other.cpu_microseconds / run.cpu_microseconds for run, other in zip(group, naive, strict=False)
                ),
            )
        )
    return rows


def table(rows: Iterable[Row]) -> str:
    """The rows as a table in Markdown, which reads as well on a terminal."""
    heads = (
        *("line", "compression", "way", "records", "records/s", "MB/s", "CPU s"),
        *("CPU µs/record", "peak MB", "records per CPU s"),
    )
    cells = [
        (
            f"{row.line_bytes:,} B",
            row.compression,
            row.way,
            f"{row.records:,}",
            f"{row.records_per_second:,.0f}",
            f"{row.megabytes_per_second:.1f}",
            f"{row.cpu_seconds:.2f}",
            f"{row.cpu_microseconds_per_record:.2f}",
            f"{row.peak_megabytes:.0f}",
            f"{row.times_naive:.1f} x",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (heads, *cells)) for column in range(len(heads))]
    rule = tuple("-" * width if column in _WORDS else "-" * (width - 1) + ":" for column, width in enumerate(widths))
    return "\n".join("| " + " | ".join(_padded(line, widths)) + " |" for line in (heads, rule, *cells))


def _padded(line: Iterable[str], widths: Iterable[int]) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.ljust(width) if column in _WORDS else cell.rjust(width)


_WORDS = (1, 2)
"""The columns that hold words, and not numbers."""


def _say(run: Run, number: int, of: int) -> None:
    result = run.wrong or (
        f"{run.records:,} records in {run.seconds:.1f} s, {run.cpu_microseconds:.2f} µs of CPU each, "
        f"{run.peak_bytes / 1e6:.0f} MB"
    )
    click.echo(f"{number}/{of} {run.line_bytes:,} B {run.compression} {run.way}: {result}", err=True)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option("--bytes", "export_bytes", type=click.IntRange(1_000_000), default=1_000_000_000, help="Of the export.")
@click.option("--files", type=click.IntRange(1), default=3, help="Of the export.")
@click.option(
    "--line-bytes", type=click.IntRange(150), multiple=True, default=(430, 1410), help="Of a line; may be repeated."
)
@click.option("--compression", type=click.Choice(["none", "zstd", "both"]), default="both", help="Of the records.")
@click.option(
    "--naive-lines", type=click.IntRange(1), default=300_000, help="So many lines go the naive way, since it is slow."
)
@click.option("--rounds", type=click.IntRange(1), default=1, help="Medians are over so many.")
@click.option("--pin", is_flag=True, help="What is measured on one CPU, Kafka and the simulator on another.")
@click.option("--json", "as_json", is_flag=True, help="All runs and the rows of the table, as JSON on stdout.")
def main(
    export_bytes: int,
    files: int,
    line_bytes: tuple[int, ...],
    compression: str,
    naive_lines: int,
    rounds: int,
    pin: bool,
    as_json: bool,
) -> None:
    """Publishes an export through the daemon, and part of it the naive way, and prints what each took.

    CPU and memory are those of the publishing process alone. Exits with 1 where a topic does not hold exactly as
    many records and bytes as it should; never for being slow.
    """
    if sys.platform != "linux":
        raise click.ClickException("the CPU time of another process can be read on Linux only")
    # An orderly end, which leaves no process behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cpu = None
    if pin:
        cpu, *others = sorted(os.sched_getaffinity(0))
        if not others:
            raise click.ClickException("--pin needs two CPUs")
        # What is started from here on inherits it.
        os.sched_setaffinity(0, {others[0]})
    compressions = ("none", "zstd") if compression == "both" else (compression,)
    settings = [Setting(length, name, export_bytes, files) for name in compressions for length in line_bytes]
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="streamer-benchmark-") as folder:
        # Topics are deleted run by run; by default their files would stay for a minute more.
        kafka = LocalKafka(Path(folder) / "kafka", broker_properties={"log.segment.delete.delay.ms": "1000"})
        with kafka:
            runner = Runner(kafka.bootstrap_servers, Path(folder), cpu=cpu)
            for run in measure(runner, settings, rounds=rounds, naive_lines=naive_lines):
                runs.append(run)
                _say(run, len(runs), 2 * rounds * len(settings))
    rows = rows_of(runs)
    click.echo(msgspec.json.encode({"rows": rows, "runs": runs}).decode() if as_json else "\n" + table(rows))
    sys.exit(1 if any(run.wrong for run in runs) else 0)


if __name__ == "__main__":
    main()
