"""What the demo looks like: a picture of its state, drawn for a terminal. Nothing here asks or waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streamer.sandbox.demo_progress import NOTHING_YET, StreamProgress
from streamer.sandbox.demo_proof import Verdict
from streamer.sandbox.demo_reader import Sample

NEWS_SHOWN = 4

State = Literal["busy", "up", "down"]
_SIGNS: Mapping[State, tuple[str, str]] = {"busy": ("…", "yellow"), "up": ("✓", "green"), "down": ("✗", "red")}
_PHASES = {"done": "green", "publishing": "cyan", "stopped": "bold red", "unreadable": "bold red"}


@dataclass
class Picture:
    """All that is shown while the demo runs."""

    parts: dict[str, tuple[State, str]] = field(default_factory=dict)
    """Kafka, simulator and daemon: their state, and a few words on it."""
    streams: tuple[StreamProgress, ...] = NOTHING_YET
    rates: Mapping[str, float] = field(default_factory=dict)
    """Records per second by entity type."""
    rate: tuple[float, float] = (0.0, 0.0)
    """Records and bytes per second of all."""
    transactions: int = 0
    seconds: float = 0.0
    pid: int | None = None
    """The daemon's; None while there is none to kill."""
    news: deque[str] = field(default_factory=lambda: deque(maxlen=NEWS_SHOWN))
    finished: bool = False


def size(count: float) -> str:
    """Bytes for people: always in MB, so that numbers below one another compare."""
    return f"{count / 1e6:,.{0 if count >= 1e9 else 1}f}"


def bar(share: float, width: int) -> Text:
    """A bar that reads without colours too: heavy what is done, light what is left."""
    filled = width if share >= 1 else int(max(share, 0.0) * width)
    return Text("━" * filled, style="green" if share >= 1 else "cyan") + Text("─" * (width - filled), style="dim")


def draw(picture: Picture, width: int) -> RenderableType:
    """The whole screen: at most 28 lines, 100 columns or as many as there are."""
    return Group(
        Text.assemble(("streamer demo", "bold"), "   Mews exports into Apache Kafka, exactly once"),
        "",
        _parts(picture),
        "",
        _streams(picture, min(width, 100)),
        "",
        _totals(picture),
        "",
        *_hint(picture),
        *(Text(line, style="yellow", no_wrap=True, overflow="ellipsis") for line in picture.news),
    )


def _parts(picture: Picture) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, (state, words) in picture.parts.items():
        sign, style = _SIGNS[state]
        table.add_row(Text(sign, style=style), name, Text(words, style="default", no_wrap=True, overflow="ellipsis"))
    return table


def _streams(picture: Picture, width: int) -> Table:
    # Everything but the bar has its width; a narrow terminal gets no bar, and a shorter heading.
    room = width - 90
    letters = "dead letters" if room >= 6 else "dead"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("entity type", width=22)
    table.add_column("status", width=10)
    if room >= 6:
        table.add_column("", width=room, no_wrap=True)
    table.add_column("MB", width=15, justify="right", no_wrap=True)
    table.add_column("records", width=10, justify="right", no_wrap=True)
    table.add_column("records/s", width=9, justify="right")
    table.add_column(letters, width=len(letters), justify="right", no_wrap=True)
    for stream in picture.streams:
        style = _PHASES.get("done" if stream.done else stream.phase, "dim")
        cells = _cells(stream, picture.rates.get(stream.entity_type, 0.0))
        bars = [bar(_share(stream), room)] if room >= 6 else []
        table.add_row(stream.entity_type, Text(stream.words, style=style), *bars, *cells)
    whole = whole_of(picture.streams)
    words = f"{sum(s.done for s in picture.streams)} of {len(picture.streams)}"
    bars = [bar(_share(whole), room)] if room >= 6 else []
    table.add_row("all", words, *bars, *_cells(whole, picture.rate[0]), style="bold")
    return table


def _cells(stream: StreamProgress, rate: float) -> tuple[str, str, str, str]:
    if not stream.total:
        return "", "", "", ""
    sizes = size(stream.size) if stream.done else f"{size(stream.size)} of {size(stream.total)}"
    return sizes, f"{stream.records:,}", f"{rate:,.0f}" if rate else "", str(stream.dead_letters)


def _share(stream: StreamProgress) -> float:
    return 1.0 if stream.done else stream.size / stream.total if stream.total else 0.0


def whole_of(streams: Sequence[StreamProgress]) -> StreamProgress:
    """All streams as if they were one."""
    return StreamProgress(
        "all",
        size=sum(s.size for s in streams),
        total=sum(s.total for s in streams),
        records=sum(s.records for s in streams),
        lines=sum(s.lines for s in streams),
        dead_letters=sum(s.dead_letters for s in streams),
        done=all(s.done for s in streams),
    )


def _totals(picture: Picture) -> Text:
    records, per_second = picture.rate
    return Text.assemble(
        (f"{picture.transactions:,}", "bold"), " transactions    ",
        (f"{records:,.0f}", "bold"), " records/s    ",
        (size(per_second), "bold"), " MB/s    ",
        (f"{picture.seconds:.0f}", "bold"), " s",
    )  # fmt: skip


def _hint(picture: Picture) -> list[RenderableType]:
    if picture.finished:
        return []
    command = Text(f"kill -9 {picture.pid}", style="bold") if picture.pid else Text("a moment, please", style="dim")
    return [
        Text("Try this in another terminal:   ") + command,
        Text("The daemon is started again and goes on where it was; every line is there once.", style="dim"),
        "",
    ]


def one_line(picture: Picture) -> str:
    """The state of all streams, for a log."""
    whole = whole_of(picture.streams)
    done = sum(s.done for s in picture.streams)
    return (
        f"{done} of {len(picture.streams)} done, {whole.records:,} records, {size(whole.size)} MB, "
        f"{picture.rate[0]:,.0f} records/s, {size(picture.rate[1])} MB/s, {picture.transactions:,} transactions"
    )


def changes(before: Sequence[StreamProgress], after: Sequence[StreamProgress]) -> list[str]:
    """One line for each phase that streams have entered since."""
    entered: dict[str, list[str]] = {}
    for old, new in zip(before, after, strict=True):
        if old.words != new.words:
            entered.setdefault(new.words, []).append(new.entity_type)
    return [f"{words}: {', '.join(names)}" for words, names in entered.items()]


def shortened(value: bytes, length: int) -> str:
    """The beginning of a value, without anything that would move the cursor."""
    text = "".join(sign if sign.isprintable() else "·" for sign in value[: 4 * length].decode(errors="replace"))
    return text if len(text) <= length and len(value) <= 4 * length else f"{text[: length - 1]}…"


def samples(found: Sequence[Sample], width: int) -> list[Text]:
    """Records as a consumer sees them, three lines each."""
    lines = []
    for sample in found:
        place = f"  partition {sample.partition}  offset {sample.offset:,}  {len(sample.value):,} bytes"
        lines += [
            Text.assemble((sample.topic, "cyan"), (place, "dim")),
            Text.assemble(("  key    ", "dim"), sample.key, ("   ce_id  ", "dim"), _short_id(sample.ce_id)),
            Text.assemble(("  value  ", "dim"), shortened(sample.value, width - 9)),
        ]
    return [_one_line(line) for line in lines]


def _short_id(ce_id: str) -> str:
    export, _, place = ce_id.partition("/")
    return f"{export[:8]}…/{place}"


def event(topic: str, told: Mapping[str, Any]) -> list[Text]:
    """An `export_completed`, in two lines."""
    keys = ("files", "bytes", "lines", "records", "dead_letters", "blank", "seconds")
    counts = "  ".join(f"{key.replace('_', ' ')} {told[key]:,}" for key in keys)
    offsets = "  ".join(f"{number}: {p['start']:,} to {p['end']:,}" for number, p in told["partitions"].items())
    return [
        _one_line(Text.assemble((topic, "cyan"), (f"  {told['event']}  {told['entity_type']}  ", "dim"))),
        _one_line(Text.assemble("  ", counts)),
        _one_line(Text.assemble(("  offsets by partition  ", "dim"), offsets)),
    ]


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def judged(verdict: Verdict) -> Text:
    """The verdict in one line."""
    if verdict.exactly_once:
        told = f"exactly once: {verdict.lines:,} lines = {verdict.records:,} records, 0 missing, 0 doubled, 0 altered"
        return Text(told, style="bold green")
    told = (
        f"NOT exactly once: {verdict.lines:,} lines, {verdict.records:,} records, {verdict.missing:,} missing, "
        f"{verdict.doubled:,} doubled, {verdict.altered:,} altered, {verdict.foreign:,} of no line, "
        f"{verdict.contradictions:,} partitions that contradict their event"
    )
    return Text(told, style="bold red")
