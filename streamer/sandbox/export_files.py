"""What is in an export: which entities, in which files, and any range of their bytes.

The made-up hotel never rests. Entities are updated one after another in turn, again and again,
`cycle_seconds` for a whole round, so that which entities fall into a window of update time, and when each
was updated last, is arithmetic: update number `u` happens at second `u * cycle // count` and concerns
entity `u % count`. A snapshot and the windows around it therefore always agree with one another. Ledger
entries are never updated; there each `u` is an entry of its own, and a posting date a day of the round.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal, Protocol

import msgspec
import numpy as np

from streamer.sandbox.entities import Numbers, Page

# Without updates, time stands still here.
FROZEN_AT = datetime(2026, 1, 1, tzinfo=UTC)


class ExportFile(Protocol):
    """The contents of one file, readable from anywhere."""

    @property
    def size(self) -> int: ...

    @property
    def lines(self) -> int: ...

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes `[start, stop)` in pieces of about a megabyte at most."""


class GivenFile(msgspec.Struct, frozen=True):
    """A file whose bytes somebody chose."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def lines(self) -> int:
        return self.data.count(b"\n") + (not self.data.endswith(b"\n") and bool(self.data))

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        for position in range(start, min(stop, self.size), PIECE_BYTES):
            yield self.data[position : min(position + PIECE_BYTES, stop)]


class SpoiledFile(msgspec.Struct, frozen=True):
    """A file in which some bytes of the first line are others. It stays as long as it is."""

    file: ExportFile
    start: int
    bytes_there: bytes

    @classmethod
    def of(cls, file: ExportFile, how: Literal["cut", "no_id", "not_utf8", "other_type"]) -> ExportFile:
        """A line cut short is filled up with blanks; one without an `Id` has it under another name."""
        line = b""
        for piece in file.read(0, file.size):
            line += piece.partition(b"\n")[0]
            if b"\n" in piece:
                break
        match how:
            case "cut":
                return cls(file, len(line) // 2, b" " * (len(line) - len(line) // 2))
            case "no_id":
                return cls(file, line.index(b'"Id"') if b'"Id"' in line else 0, b'"iD"')
            case "not_utf8":
                return cls(file, len(line) - 3, b"\xff")
            case "other_type":
                found = re.search(rb'"UpdatedUtc":("[^"]*")', line)
                return cls(file, found.start(1), b"7" * len(found[1])) if found else file

    @property
    def size(self) -> int:
        return self.file.size

    @property
    def lines(self) -> int:
        return self.file.lines

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        for piece in self.file.read(start, stop):
            low, high = max(self.start, start), min(self.start + len(self.bytes_there), start + len(piece))
            if low < high:
                there = self.bytes_there[low - self.start : high - self.start]
                piece = piece[: low - start] + there + piece[high - start :]
            yield piece
            start += len(piece)


class Rounds(msgspec.Struct, frozen=True):
    """The order in which the entities of a type are updated."""

    count: int
    cycle_seconds: int
    repeated: bool = True  # False: each update is a new entity

    def first_at(self, time: datetime) -> int:
        """The number of the first update at or after a time."""
        microseconds = (time - EPOCH) // timedelta(microseconds=1)
        seconds = -(-microseconds // 1_000_000)
        return -(-seconds * self.count // self.cycle_seconds)

    def times_of(self, updates: Numbers) -> Numbers:
        return updates * self.cycle_seconds // self.count

    def last_updates(self, entities: Numbers, end: int) -> Numbers:
        """The number of the last update before `end` of each entity."""
        if not self.repeated:
            return entities
        return end - 1 - (end - 1 - entities) % self.count

    def entities_of(self, first: int, end: int) -> list[tuple[int, int]]:
        """The entities of the updates `[first, end)`, at most one round of them, as ascending ranges."""
        if not self.repeated:
            return [(first, end)] if first < end else []
        if end - first >= self.count:
            return [(0, self.count)] if self.count else []
        start, stop = first % self.count, first % self.count + end - first
        ranges = [(0, stop - self.count), (start, self.count)] if stop > self.count else [(start, stop)]
        return [(low, high) for low, high in ranges if low < high]


class GeneratedFile(msgspec.Struct, frozen=True):
    """A file of made-up entities, given as ranges of them; nothing of it is kept."""

    page: Page
    rounds: Rounds
    end: int  # one past the newest update that the export knows
    ranges: list[tuple[int, int]]

    @property
    def lines(self) -> int:
        return sum(stop - start for start, stop in self.ranges)

    @property
    def size(self) -> int:
        return sum(self.page.offset_of(stop) - self.page.offset_of(start) for start, stop in self.ranges)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        position = 0
        for first, last in self.ranges:
            begin, length = self.page.offset_of(first), self.page.offset_of(last) - self.page.offset_of(first)
            low, high = max(start - position, 0), min(stop - position, length)
            if low < high:
                yield from self.page.read(begin + low, begin + high, self._times)
            position += length

    def _times(self, entities: Numbers) -> Numbers:
        return self.rounds.times_of(self.rounds.last_updates(entities, self.end))


def updates_between(rounds: Rounds, start: datetime | None, end: datetime | None, now: datetime) -> tuple[int, int]:
    """The updates that an export asked for at `now` holds: without a window, the whole of the last round.

    An entity updated again after the window is not in it, as it no longer is when the real thing looks.
    """
    newest = rounds.first_at(now.replace(microsecond=0) + timedelta(seconds=1))
    oldest = newest - rounds.count if rounds.repeated else 0
    if start is None or end is None:
        return oldest, newest
    if start == end:  # an equality match, says the documentation
        end = start + timedelta(microseconds=1)
    return max(rounds.first_at(start), oldest), max(min(rounds.first_at(end), newest), oldest)


def generated_files(
    page: Page, rounds: Rounds, updates: tuple[int, int], files: int, now: datetime
) -> list[ExportFile]:
    """The files of an export, about equal in lines; fewer of them, or none, where lines are few."""
    end = rounds.first_at(now.replace(microsecond=0) + timedelta(seconds=1))
    ranges = rounds.entities_of(*updates)
    lines = sum(stop - start for start, stop in ranges)
    cuts = np.linspace(0, lines, min(files, lines) + 1).astype(int).tolist() if lines else [0]
    return [GeneratedFile(page, rounds, end, _part(ranges, low, high)) for low, high in pairwise(cuts)]


def _part(ranges: list[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    """The lines `[low, high)` of the ranges taken together."""
    parts, position = [], 0
    for start, stop in ranges:
        first, last = max(low - position, 0), min(high - position, stop - start)
        if first < last:
            parts.append((start + first, start + last))
        position += stop - start
    return parts


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PIECE_BYTES = 262_144
