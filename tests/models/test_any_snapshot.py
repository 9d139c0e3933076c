"""The table of differences, held against a dictionary that follows the rules word by word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core import differences
from streamer.core.differences import Table
from tests.unit.core.tables import BASE, Line, facts, judged, take_back


@dataclass
class Known:
    """What the dictionary holds of a key."""

    value: bytes | None
    updated: int | None
    timestamp: int
    seen: bool = False


class ByTheBook:
    """Rules 2 to 5 for single lines."""

    def __init__(self) -> None:
        self.known: dict[bytes, Known] = {}

    def take_back(self, key: bytes, value: bytes | None, updated: int | None, timestamp: int) -> None:
        self.known[key] = Known(value, updated if value is not None else None, timestamp)

    def judge(self, line: Line) -> bool:
        key, value, updated = line
        known = self.known.get(key)
        if known is not None and known.value is not None:
            known.seen = True
            if known.value == value:
                return False
            if known.updated is not None and updated is not None and updated < known.updated:
                return False
        self.known[key] = Known(value, updated, 0, seen=True)
        return True

    def gone(self, before: int) -> set[bytes]:
        return {
            key
            for key, known in self.known.items()
            if known.value is not None
            and not known.seen
            and (known.timestamp if known.updated is None else known.updated) < before
        }


keys = st.sampled_from([b"%d" % n for n in range(12)])
seconds = st.none() | st.integers(0, 9)
values = st.sampled_from([b"x", b"y", b"z"])
lines = st.tuples(keys, values, seconds)
records = st.tuples(keys, st.none() | values, seconds, st.integers(0, 9))


@pytest.fixture(params=[2**19, 4], ids=["long runs", "short runs"], autouse=True)
def longest_run(request: pytest.FixtureRequest) -> Iterator[None]:
    with mock.patch.object(differences, "_LONGEST_RUN", request.param):
        yield


@given(
    st.lists(st.lists(records, max_size=20), max_size=3),
    st.lists(st.lists(lines, min_size=1, max_size=20), max_size=4),
    st.integers(0, 9),
)
def test_a_table_says_what_the_rules_say(
    read: list[list[tuple[bytes, bytes | None, int | None, int]]], snapshot: list[list[Line]], before: int
) -> None:
    table, book = Table(), ByTheBook()
    for some in read:
        if some:
            take_back(table, some)
        for record in some:
            book.take_back(*record)
    for batch in snapshot:
        assert judged(table, batch) == [book.judge(line) for line in batch]
    limit = BASE + before * 1_000_000
    gone = book.gone(before)
    assert table.gone_before(limit) == len(gone)
    assert len(table) == len(book.known)
    assert table.entities == sum(known.value is not None for known in book.known.values())
    every = sorted(book.known) * 2
    if every:
        buried = table.bury(0, facts([(key, b"", None) for key in every]), limit)
        # Each once, although each is met twice.
        assert sorted(np.array(every)[buried].tolist()) == sorted(gone)
        assert table.gone_before(limit) == 0
        assert not table.bury(0, facts([(key, b"", None) for key in every]), limit).any()
