"""Waits grow, spread and end at a ceiling; the server's wish is heard and never undercut."""

import math
from datetime import UTC, datetime, timedelta, timezone

from streamer.core.backoff import BackoffPolicy, delay, parse_retry_after
from tests.unit.cases import cases

POLICY = BackoffPolicy(base=1.0, ceiling=30.0, factor=2.0, longest_wish=600.0)
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def highest() -> float:
    return 1.0


def lowest() -> float:
    return 0.0


@cases(("attempt", "longest"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (7, 30), (10**9, 30)])
def test_waits_double_up_to_the_ceiling(attempt: int, longest: float) -> None:
    assert delay(POLICY, attempt, random=highest) == longest
    assert delay(POLICY, attempt, random=lowest) == longest / 2


@cases(
    ("wish", "wait"),
    [(None, 4), (0.0, 4), (3.9, 4), (4.1, 4.1), (100.0, 100.0), (601.0, 600.0), (math.inf, 600.0)],
)
def test_the_servers_wish_wins_where_it_is_longer(wish: float | None, wait: float) -> None:
    assert delay(POLICY, 3, random=highest, retry_after=wish) == wait


@cases(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90.0),
        ("Sunday, 01-Mar-26 12:01:30 GMT", 90.0),
        ("Sun Mar  1 12:01:30 2026", 90.0),
        ("Sun, 01 Mar 2026 12:01:30 -0000", 90.0),
        ("Sun, 01 Mar 2026 13:01:30 +0100", 90.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("9" * 400, None),
        ("١٢", None),
        ("12 minutes", None),
        ("Sun, 99 Mar 2026 12:01:30 GMT", None),
        ("2026-03-01T12:01:30Z", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


def test_now_may_be_in_any_time_zone() -> None:
    prague = NOW.astimezone(timezone(timedelta(hours=1)))
    assert parse_retry_after("Sun, 01 Mar 2026 12:00:05 GMT", now=prague) == 5.0
