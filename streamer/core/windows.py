"""Where a window begins and ends, so that all of them together leave no gap and Mews accepts each.

A *chain* of windows covers all update times without a gap: ``covered_to`` is how far it has got, and only a completed
window moves it. Each window reaches back behind that point, because rows appear late, and ends as late as Mews allows.
Its end is decided by Mews' clock alone: an end too late would leave out, for ever, what is updated until then.

All times are aware, in UTC; bounds are whole seconds (of ``LedgerEntry``, whole days).
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import msgspec

from streamer.model import Window

SETTLED = timedelta(minutes=5)
"""How far in the past a window has to end (operations/exports)."""

LONGEST = timedelta(days=180)
"""The longest interval that Mews takes (operations/exports)."""

SMALLEST_SPAN = timedelta(minutes=15)
"""A span that is halved goes no further down: smaller than what a stream in step asks for makes no sense."""

TRIES = 3
"""So many exports of one window that come to nothing, in a row, halve its span."""

LEDGER_BEGINS = datetime(2012, 1, 1, tzinfo=UTC)
"""Before any ledger of Mews: there is no snapshot of a ledger, so its first window starts here."""

_DAY = timedelta(days=1)


class Cut(msgspec.Struct, frozen=True):
    """A window to ask for.

    ``covers_to`` is how far the chain will have got with it. ``partial`` where it ends before it had to: the next one
    is due as soon as this one is done.
    """

    window: Window
    covers_to: datetime
    partial: bool


class UpdateWindows(msgspec.Struct, frozen=True):
    """Windows of update time, ``[covered_to - overlap, now - 5 min - margin)``."""

    overlap: timedelta
    margin: timedelta
    smallest_span = SMALLEST_SPAN

    def beginning(self) -> datetime | None:
        """Where a chain begins that no snapshot has begun: nowhere."""
        return None

    def start(self, covered_to: datetime) -> datetime:
        """Where the window after ``covered_to`` starts."""
        return _whole_seconds(covered_to - self.overlap)

    def latest_end(self, server_now: datetime) -> datetime:
        """Where a window may end at most, by Mews' clock."""
        return _whole_seconds(server_now - SETTLED - self.margin)

    def covers_to(self, end: datetime, _server_now: datetime) -> datetime:
        """How far a window with this end covers everything."""
        return end


class LedgerWindows(msgspec.Struct, frozen=True):
    """Windows of posting dates: whole days from ``lookback`` before ``covered_to`` to the day that Mews has now.

    Today is among them, but only covered when it is over: what is posted later today comes with the next windows.
    """

    lookback: timedelta
    smallest_span = _DAY

    def beginning(self) -> datetime | None:
        """Where the chain begins: no snapshot does."""
        return LEDGER_BEGINS

    def start(self, covered_to: datetime) -> datetime:
        """Where the window after ``covered_to`` starts."""
        return _whole_days(covered_to - self.lookback)

    def latest_end(self, server_now: datetime) -> datetime:
        """The end of Mews' today, in UTC."""
        return _whole_days(server_now) + _DAY

    def covers_to(self, end: datetime, server_now: datetime) -> datetime:
        """How far a window with this end covers everything."""
        return min(end, _whole_days(server_now))


WindowRules = UpdateWindows | LedgerWindows


def cut(
    rules: WindowRules,
    covered_to: datetime,
    *,
    server_now: datetime,
    start: datetime | None = None,
    span: timedelta | None = None,
) -> Cut | None:
    """The window after ``covered_to``, or None while it would bring nothing new.

    ``start`` keeps that of an earlier try. ``span`` limits how far the window goes beyond ``covered_to``, not counting
    what it reaches back, so that a window always gets on.
    """
    start = rules.start(covered_to) if start is None else start
    latest = rules.latest_end(server_now)
    end = min(latest, _down(rules, start + LONGEST))
    if span is not None:
        end = min(end, _down(rules, covered_to + max(span, rules.smallest_span)))
    # The chain may end between two seconds, where a snapshot began it.
    if end <= covered_to:
        return None
    return Cut(Window(start, end), covers_to=rules.covers_to(end, server_now), partial=end < latest)


def cut_of_earlier_try(rules: WindowRules, window: Window) -> Cut:
    """A window that an earlier try asked for, nobody knows when: it covers what it did at the least."""
    # A window of days is cut within the last of them.
    return Cut(window, covers_to=rules.covers_to(window.end, window.end - _DAY), partial=True)


def span_after_failure(
    span: timedelta | None, covered_to: datetime | None, window: Window, *, failures: int
) -> timedelta | None:
    """The span for the next try of a window that came to nothing, which is the ``failures``-th time in a row."""
    if failures % TRIES:
        return span
    return max(SMALLEST_SPAN, (window.end - (covered_to or window.start)) / 2)


def span_after_success(span: timedelta | None, *, partial: bool) -> timedelta | None:
    """The span for the window after a completed one: a halved one grows again, until the chain is in step."""
    if span is None or not partial or 2 * span >= LONGEST:
        return None
    return 2 * span


def whole_days(window: Window) -> tuple[str, str]:
    """The window of a ledger as Mews wants it: first and last date, both part of it."""
    return window.start.date().isoformat(), (window.end - _DAY).date().isoformat()


def _down(rules: WindowRules, moment: datetime) -> datetime:
    return _whole_days(moment) if isinstance(rules, LedgerWindows) else _whole_seconds(moment)


def _whole_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _whole_days(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), time(), tzinfo=UTC)
