"""What a run came to: figures as JSON, and the table that goes into the documentation."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.actions import Broken, Done, Struck
from tests.chaos.fleet import Life
from tests.chaos.reckoner import Verdict
from tests.chaos.reckoning import Commit
from tests.chaos.schedule import Instant
from tests.chaos.stage import Settings

MEGABYTE = 1_000_000
AGES = ((0, 15), (15, 30), (30, 60), (60, 120), (120, 10**9))
SIGNALS = ("SIGKILL", "SIGTERM", "SIGSTOP")


@dataclass(frozen=True)
class Times:
    """Seconds, of so many."""

    count: int
    median: float
    worst: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times | None:
        return cls(len(seconds), statistics.median(seconds), max(seconds)) if seconds else None

    def __str__(self) -> str:
        return f"{self.median:.1f} s, worst {self.worst:.1f} s (of {self.count})"


@dataclass
class Outcome:
    """A run that is over. ``found`` is all that must not be: any of it, and the run has failed."""

    settings: Settings
    seconds: float
    done: Done
    verdict: Verdict
    http: Counter[str]
    lives: list[Life]
    unclosed: int = 0
    found: list[str] = field(default_factory=list)

    @property
    def peak(self) -> int:
        return max((life.peak for life in self.lives), default=0)


def outlived(commits: Iterable[Commit], struck: Sequence[Struck], broken: Sequence[Broken]) -> dict[str, list[float]]:
    """Seconds from SIGKILL to the next commit of what the victim was publishing, by somebody else.

    ``alone``: those of the kills that nothing else came upon until then.
    """
    history: dict[str, list[Commit]] = defaultdict(list)
    for commit in sorted(commits, key=lambda commit: commit.at):
        history[commit.stream].append(commit)
    others = sorted([*(strike.at for strike in struck), *(fault.at for fault in broken)])
    found: dict[str, list[float]] = {"all": [], "alone": []}
    for strike in struck:
        if strike.signal != "SIGKILL":
            continue
        gaps = []
        for commits_of in history.values():
            place = bisect_right(commits_of, strike.at, key=lambda commit: commit.at)
            last = commits_of[place - 1] if place else None
            if last is not None and last.pid == strike.pid and last.phase == "publishing":
                gaps += [commit.at - strike.at for commit in commits_of[place:] if commit.pid != strike.pid][:1]
        if not gaps:
            continue
        found["all"].append(min(gaps))
        troubled = any(strike.at - 1.0 < at < strike.at + min(gaps) and at != strike.at for at in others)
        down = any(fault.at < strike.at < fault.back for fault in broken)
        if not troubled and not down:
            found["alone"].append(min(gaps))
    return found


def after_brokers(commits: Iterable[Commit], broken: Sequence[Broken]) -> dict[str, list[float]]:
    """Seconds from a broker's return to the next commit, by what had happened to it."""
    moments = sorted(commit.at for commit in commits)
    found: dict[str, list[float]] = defaultdict(list)
    for fault in broken:
        place = bisect_right(moments, fault.back)
        if place < len(moments):
            found[fault.fault].append(moments[place] - fault.back)
    return found


def figures(outcome: Outcome) -> dict[str, Any]:
    """Everything that can be counted, for JSON."""
    verdict, done = outcome.verdict, outcome.done
    killed = outlived(verdict.commits, done.struck, done.broken)
    brokers = after_brokers(verdict.commits, done.broken)
    ended = [strike.seconds for strike in done.struck if strike.signal == "SIGTERM"]
    times = {
        "SIGKILL to the next commit of what it published": Times.of(killed["all"]),
        "the same, with nothing else in between": Times.of(killed["alone"]),
        "SIGTERM to exit": Times.of(ended),
        **{f"broker back ({fault}) to the next commit": Times.of(seconds) for fault, seconds in brokers.items()},
    }
    return {
        "settings": asdict(outcome.settings),
        "seconds": round(outcome.seconds, 1),
        "strikes": {
            instant: dict(Counter(strike.signal for strike in done.struck if strike.instant == instant))
            for instant in [*map(str, Instant), "at random", "scaled down"]
        },
        "missed": dict(done.missed),
        "brokers": dict(Counter(fault.fault for fault in done.broken)),
        "scaled": done.scaled,
        "connections_cut": done.cut,
        "http": dict(outcome.http.most_common()),
        "unclosed": outcome.unclosed,
        "daemons": len(outcome.lives),
        "peak_memory": outcome.peak,
        "memory_by_age": _by_age(outcome.lives),
        "recovery": {name: asdict(times) for name, times in times.items() if times},
        "verdict": {k: v for k, v in asdict(verdict).items() if k not in {"commits", "finished"}},
        "found": outcome.found,
    }


def _by_age(lives: Iterable[Life]) -> dict[str, dict[str, int]]:
    """The peak of each daemon, by the age that it reached."""
    found = {}
    for low, high in AGES:
        peaks = [life.peak for life in lives if life.memory and low <= life.memory[-1][0] < high]
        if peaks:
            name = f"{low} to {high} s" if high < 10**9 else f"over {low} s"
            found[name] = {"daemons": len(peaks), "median": int(statistics.median(peaks)), "most": max(peaks)}
    return found


def table(report: dict[str, Any]) -> str:
    """The figures for people."""
    settings, verdict = report["settings"], report["verdict"]
    strikes = report["strikes"]
    aimed = sum(sum(counts.values()) for counts in strikes.values())
    rows = [
        ("minutes, seed, brokers", f"{report['seconds'] / 60:.1f}, {settings['seed']}, {settings['brokers']}"),
        ("session timeout", f"{settings['session_timeout']:g} s"),
        ("daemons started", f"{report['daemons']}"),
        ("daemons killed, ended or frozen", f"{aimed}"),
        ("brokers killed, frozen, restarted", " · ".join(f"{k} {v}" for k, v in report["brokers"].items()) or "0"),
        ("replicas changed, connections cut", f"{report['scaled']}, {report['connections_cut']}"),
        ("HTTP faults", f"{sum(report['http'].values()):,} of {len(report['http'])} kinds"),
        ("exports completed", f"{verdict['completed']:,}"),
        ("exports failed, expired, times blocked", f"{verdict['failed']}, {verdict['expired']}, {verdict['blocked']}"),
        ("records", f"{verdict['records']:,}"),
        ("dead letters", f"{verdict['dead_letters']:,}"),
        ("bytes of completed exports", f"{verdict['size']:,}"),
        ("**lost**", f"**{verdict['lost']}**"),
        ("**doubled**", f"**{verdict['doubled']}**"),
        ("other differences", f"{verdict['differing'] - verdict['lost'] - verdict['doubled']}"),
        ("secrets", f"{len(verdict['secrets'])} in {verdict['searched'] / MEGABYTE:.1f} MB of logs, pages and topics"),
        ("Kafka clients left open at an exit", f"{report['unclosed']}"),
        ("peak memory of a daemon", f"{report['peak_memory'] / MEGABYTE:.0f} MB"),
        *((name, str(Times(**times))) for name, times in report["recovery"].items()),
    ]
    parts = [
        _markdown(("what", "figure"), rows),
        _markdown(
            ("instant", *SIGNALS),
            [(instant, *(str(counts.get(name, 0)) for name in SIGNALS)) for instant, counts in strikes.items()],
        ),
        _markdown(
            ("a daemon's age", "daemons", "median peak", "highest peak"),
            [
                (age, str(it["daemons"]), f"{it['median'] / MEGABYTE:.0f} MB", f"{it['most'] / MEGABYTE:.0f} MB")
                for age, it in report["memory_by_age"].items()
            ],
        ),
        _markdown(("HTTP fault", "times"), [(kind, str(times)) for kind, times in report["http"].items()]),
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
