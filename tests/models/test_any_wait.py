"""However long it takes: waits and the grid of polls."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from streamer.core.backoff import BackoffPolicy, delay, parse_retry_after
from streamer.mews.polling import next_poll

POLICY = BackoffPolicy(base=1.0, ceiling=30.0, factor=2.0, longest_wish=600.0)
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@given(st.floats(0, 1e9), st.floats(0.5, 1e6))
def test_the_next_poll_is_always_later_but_not_by_more_than_two_intervals(now: float, interval: float) -> None:
    assert now < next_poll(now, interval) <= now + 2 * interval


@given(st.floats(0, 1e6), st.floats(0, 0.999))
def test_streams_that_ask_within_one_interval_poll_at_one_moment(start: float, share: float) -> None:
    grid = next_poll(start, 300.0)
    assert next_poll(grid + share * 299.0, 300.0) == grid + 300.0


@given(st.integers(1, 3000), st.floats(0, 1), st.none() | st.floats(0))
def test_no_wait_is_negative_or_endless(attempt: int, chance: float, wish: float | None) -> None:
    assert 0.5 <= delay(POLICY, attempt, random=lambda: chance, retry_after=wish) <= 600.0


@given(st.integers(1, 3000), st.floats(0, 1))
def test_a_later_attempt_never_waits_less(attempt: int, chance: float) -> None:
    assert delay(POLICY, attempt, random=lambda: chance) <= delay(POLICY, attempt + 1, random=lambda: chance)


words = st.sampled_from(["Sun,", "01", "Mar", "2026", "99999", "12:00:00", "25:61", "GMT", "+9999", "-", "é", "٣"])


@given(st.lists(words, max_size=7).map(" ".join))
def test_no_header_breaks_the_reader(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
