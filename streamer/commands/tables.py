"""How the commands show what they found: tables for people, plain where it is piped, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_FILE = 1000
_UNITS = ("B", "kB", "MB", "GB", "TB")


def console() -> Console:
    """Where to print: in colour on a terminal; in a pipe as wide as a line gets, so that it can be searched."""
    found = Console(highlight=False, markup=False, emoji=False)
    if found.is_terminal:
        return found
    return Console(highlight=False, markup=False, emoji=False, width=_WIDTH_OF_A_FILE)


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """A table without lines; the columns named in ``right`` hold numbers."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    click.echo(msgspec.json.encode(value))


def size(count: float | None) -> str:
    """Bytes as ``12.3 MB``; nothing for None."""
    if count is None:
        return ""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def duration(seconds: float | None) -> str:
    """Seconds as ``4s``, ``3m 20s``, ``5h 12m`` or ``6d 3h``; nothing for None."""
    if seconds is None:
        return ""
    left = max(0, round(seconds))
    days, hours, minutes = left // 86_400, left // 3_600 % 24, left // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {left % 60}s" if minutes else f"{left}s"


def moment(at: datetime | None) -> str:
    """A time as ``2026-11-26 21:31:01Z``; nothing for None."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ") if at else ""
