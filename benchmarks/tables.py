"""Sums up runs as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from benchmarks.runs import Run, Setting


def table(runs: Iterable[Run]) -> str:
    """Medians: a table for each setting, its ways by the CPU time that a record takes; wrong runs don't count."""
    groups: dict[Setting, dict[str, list[Run]]] = {}
    for run in runs:
        if not run.wrong:
            groups.setdefault(run.setting, {}).setdefault(run.way, []).append(run)
    return "\n".join(_of_setting(setting, by_way) for setting, by_way in groups.items())


def _of_setting(setting: Setting, by_way: dict[str, list[Run]]) -> str:
    own = _cpu(by_way.get("streamer") or next(iter(by_way.values())))
    several = any(run.streams > 1 for group in by_way.values() for run in group)
    columns = [
        "way",
        "rounds",
        "records/s",
        "MB/s",
        "CPU s per million",
        "CPU time, streamer = 1",
        "peak MB",
        "loop ms",
        "sleeper ms",
        "waited",
        "stolen",
    ]
    if several:
        columns.append("first done / last")
    rows = [
        f"\n{setting.line_bytes:,} B a line, {setting.export_bytes / 1e6:,.0f} MB in {_counted(setting.files, 'file')},"
        f" compression {setting.compression}, {'five' if setting.headers else 'no'} headers,"
        f" {_counted(setting.partitions, 'partition')}\n",
        "| " + " | ".join(columns) + " |",
        "| --- |" + " ---: |" * (len(columns) - 1),
    ]
    for way, group in sorted(by_way.items(), key=lambda item: _cpu(item[1])):
        late = [run.late_seconds for run in group if run.late_seconds is not None]
        slept = [run.sleeper_late_seconds for run in group if run.sleeper_late_seconds is not None]
        cells = [
            way,
            str(len(group)),
            f"{median(run.records_per_second for run in group):,.0f}",
            f"{median(run.megabytes_per_second for run in group):.0f}",
            f"{_cpu(group):.2f}",
            f"{_cpu(group) / own:.2f}",
            f"{max(run.peak_bytes for run in group) / 1e6:.0f}",
            f"{max(late) * 1000:g}" if late else "",
            f"{max(slept) * 1000:.0f}" if slept else "",
            _share(group, "waited_seconds"),
            _share(group, "stolen_seconds"),
        ]
        if several:
            shares = [run.first_seconds / run.seconds for run in group if run.first_seconds is not None]
            cells.append(f"{median(shares):.2f}" if shares else "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cpu(group: Iterable[Run]) -> float:
    return median(run.cpu_microseconds for run in group)


def _share(group: Iterable[Run], name: str) -> str:
    """Of the time of the runs, how much of it was lost so."""
    shares = [lost / run.seconds for run in group if (lost := getattr(run, name)) is not None]
    return f"{median(shares):.1%}" if shares else ""


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
