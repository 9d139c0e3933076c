"""How windows are cut, and how their spans shrink and grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamer.core.windows import (
    LONGEST,
    SMALLEST_SPAN,
    Cut,
    cut,
    span_after_failure,
    span_after_success,
    whole_days,
)
from streamer.model import Window
from tests.unit.cases import cases
from tests.unit.core.rules_of_windows import DAY, HOUR, LEDGER, MINUTE, SECOND, UPDATES

START = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_window_reaches_back_by_the_overlap_and_ends_behind_what_mews_allows_by_the_margin() -> None:
    found = cut(UPDATES, NOW - HOUR, server_now=NOW)
    assert found == Cut(Window(NOW - 70 * MINUTE, NOW - 6 * MINUTE), covers_to=NOW - 6 * MINUTE, partial=False)


def test_bounds_are_whole_seconds_and_never_later_than_they_may() -> None:
    found = cut(UPDATES, NOW - HOUR + 900_000 * SECOND / 1_000_000, server_now=NOW + 0.9 * SECOND)
    assert found is not None
    assert found.window == Window(NOW - 70 * MINUTE, NOW - 6 * MINUTE)


@cases("ahead", [-6 * MINUTE, -6 * MINUTE + SECOND / 2, 0 * SECOND, DAY])
def test_there_is_no_window_while_it_would_bring_nothing_new(ahead: timedelta) -> None:
    assert cut(UPDATES, NOW + ahead, server_now=NOW) is None


def test_a_second_of_news_is_a_window() -> None:
    assert cut(UPDATES, NOW - 6 * MINUTE - SECOND, server_now=NOW) is not None


def test_a_long_stop_becomes_several_windows_of_180_days_at_most() -> None:
    found = cut(UPDATES, NOW - 400 * DAY, server_now=NOW)
    assert found is not None
    assert found.window.end - found.window.start == LONGEST
    assert found.partial


def test_the_start_of_an_earlier_try_is_kept() -> None:
    start = NOW - 3 * HOUR
    found = cut(UPDATES, NOW - HOUR, server_now=NOW, start=start)
    assert found is not None
    assert found.window == Window(start, NOW - 6 * MINUTE)


@cases(
    ("span", "covers"),
    [(8 * HOUR, 8 * HOUR), (SMALLEST_SPAN, SMALLEST_SPAN), (MINUTE, SMALLEST_SPAN), (9 * DAY, DAY - 6 * MINUTE)],
)
def test_a_span_limits_what_is_new_so_that_a_window_always_gets_on(span: timedelta, covers: timedelta) -> None:
    found = cut(UPDATES, NOW - DAY, server_now=NOW, span=span)
    assert found is not None
    assert found.covers_to == found.window.end == NOW - DAY + covers
    assert found.partial == (span < DAY)


@cases(
    ("span", "failures", "after"),
    [
        (None, 1, None),
        (None, 2, None),
        (None, 3, 12 * HOUR),
        (12 * HOUR, 4, 12 * HOUR),
        (12 * HOUR, 6, 12 * HOUR),
    ],
)
def test_every_third_failure_in_a_row_halves_what_was_asked_for(
    span: timedelta | None, failures: int, after: timedelta | None
) -> None:
    window = Window(NOW - DAY - 10 * MINUTE, NOW)
    assert span_after_failure(span, NOW - DAY, window, failures=failures) == after


def test_a_span_goes_no_further_down_than_15_minutes() -> None:
    assert span_after_failure(None, NOW - MINUTE, Window(NOW - HOUR, NOW), failures=3) == 15 * MINUTE


@cases(
    ("span", "partial", "after"),
    [(None, True, None), (HOUR, True, 2 * HOUR), (HOUR, False, None), (LONGEST / 2, True, None)],
)
def test_a_halved_span_grows_again_until_the_chain_is_in_step(
    span: timedelta | None, partial: bool, after: timedelta | None
) -> None:
    assert span_after_success(span, partial=partial) == after


def test_a_ledger_is_asked_for_in_whole_days_with_both_dates_part_of_it() -> None:
    found = cut(LEDGER, datetime(2026, 2, 28, tzinfo=UTC), server_now=NOW)
    today = datetime(2026, 3, 1, tzinfo=UTC)
    window = Window(datetime(2026, 2, 21, tzinfo=UTC), today + DAY)
    # Today is asked for, but not over.
    assert found == Cut(window, covers_to=today, partial=False)
    assert whole_days(window) == ("2026-02-21", "2026-03-01")


def test_today_of_a_ledger_is_asked_for_again_and_again() -> None:
    found = cut(LEDGER, datetime(2026, 3, 1, tzinfo=UTC), server_now=NOW)
    assert found is not None
    assert whole_days(found.window) == ("2026-02-22", "2026-03-01")
