from __future__ import annotations

from datetime import UTC, datetime

from streamer.mews.headers import ContentRange, content_range, request_id, retry_after, server_date, strong_etag
from tests.unit.cases import cases

DATE = "Sun, 22 Nov 2026 09:00:00 GMT"


@cases(
    ("text", "meaning"),
    [
        ("bytes 5-9/10", ContentRange(5, 10)),
        ("bytes 5-9/*", ContentRange(5, None)),
        ("bytes */10", ContentRange(None, 10)),
        ("bytes 9-5/10", None),
        ("bytes 5-10/10", None),
        ("bytes 5-9", None),
        ("items 5-9/10", None),
        ("", None),
    ],
)
def test_a_range_means_what_it_says_or_nothing(text: str, meaning: ContentRange | None) -> None:
    assert content_range({"Content-Range": text}) == meaning


@cases(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("Sun, 22 Nov 2026 09:01:30 GMT", 90.0),
        ("Sun, 22 Nov 2026 08:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_a_wish_to_wait_is_counted_by_the_servers_own_clock(text: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": text, "Date": DATE}) == seconds


def test_a_wish_to_wait_until_a_date_needs_the_servers_own_clock() -> None:
    assert retry_after({"Retry-After": DATE}) is None
    assert retry_after({"Retry-After": "7"}) == 7.0


@cases("text", ["", "today", "Sun, 99 Nov 2026 09:00:00 GMT"])
def test_an_unreadable_date_is_none(text: str) -> None:
    assert server_date({"Date": text}) is None


def test_the_servers_date_is_in_utc() -> None:
    assert server_date({"Date": DATE}) == datetime(2026, 11, 22, 9, tzinfo=UTC)


@cases(("text", "told"), [("req-7", "req-7"), ("", "-"), ("a\x1b[31m", "-"), ("x" * 100, "x" * 64)])
def test_a_request_id_is_fit_for_a_log(text: str, told: str) -> None:
    assert request_id({"Request-Id": text}) == told


@cases(
    ("text", "etag"),
    [('"v1"', '"v1"'), ('W/"v1"', None), ("v1", None), ('"\udcff"', None), ('"a"b"', None), ('""', None), ("", None)],
)
def test_only_a_strong_etag_counts(text: str, etag: str | None) -> None:
    assert strong_etag({"ETag": text}) == etag
