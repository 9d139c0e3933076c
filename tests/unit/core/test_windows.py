"""Windows leave no gap and break no rule of Mews, whatever happens to the stream and to its clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.checkpoint import Checkpoint
from streamer.core.heeding import heed
from streamer.core.inputs import (
    Abandoned,
    Added,
    Blocked,
    Ended,
    FiltersRefused,
    Input,
    LookedAt,
    Published,
    Ready,
    Refused,
    Retried,
)
from streamer.core.lifecycle import transition
from streamer.core.schedule import (
    Add,
    AskTime,
    AwaitSignal,
    Begin,
    Cadence,
    LookAgain,
    Poll,
    Publish,
    Sleep,
    next_step,
    recut,
)
from streamer.core.signals import Pause, Resume, Signal, SignalRecord, SnapshotNow, WindowNow, encode_signal
from streamer.core.states import Counts, FileList, Position, Request, Requesting
from streamer.core.windows import (
    LONGEST,
    SETTLED,
    SMALLEST_SPAN,
    Cut,
    LedgerWindows,
    UpdateWindows,
    cut,
    span_after_failure,
    span_after_success,
    whole_days,
)
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, StreamKey, Window
from tests.unit.cases import cases

START = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
UPDATES = UpdateWindows(overlap=10 * MINUTE, margin=MINUTE)
LEDGER = LedgerWindows(lookback=7 * DAY)
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


class History:
    """A stream's life, decided by luck, with Mews' true time and a clock of its own that may be anything."""

    def __init__(self, rules: UpdateWindows | LedgerWindows) -> None:
        self.rules = rules
        self.is_ledger = isinstance(rules, LedgerWindows)
        entity_type = EntityType.LEDGER_ENTRY if self.is_ledger else EntityType.BILL
        self.stream = StreamKey(ConnectionName("alpine"), entity_type)
        self.cadence = Cadence(snapshot_interval=7 * DAY, windows=rules, update_interval=15 * MINUTE)
        self.checkpoint = Checkpoint()
        self.time = START
        self.error = timedelta()
        self.behind: timedelta | None = None
        self.intended = False
        self.signals = 0
        self.ids = 0
        self.called: dict[str, datetime] = {}
        self.first_snapshot: datetime | None = None
        self.windows: list[Window] = []

    @property
    def own(self) -> datetime:
        return self.time + self.error

    @property
    def server_now(self) -> datetime | None:
        return None if self.behind is None else self.time - self.behind

    def hear(self) -> None:
        """An answer, with a Date to the second."""
        self.behind = timedelta(microseconds=self.time.microsecond)

    def move(self, event: Input) -> None:
        self.checkpoint = transition(self.stream, self.checkpoint, event, now=self.own).checkpoint

    def signal(self, signal: Signal) -> None:
        record = SignalRecord(self.signals, "*", encode_signal(signal))
        self.signals += 1
        self.checkpoint = heed(self.stream, self.checkpoint, record, now=self.own).checkpoint

    def wait(self, time: timedelta) -> None:
        self.time += time
        self.intended = self.intended and time < 5 * SECOND

    def restart(self) -> None:
        self.behind, self.intended = None, False

    def turn(self, luck: int) -> timedelta:
        """One step of the loop, with good luck where it is 0; how long there is nothing to do after it."""
        step = next_step(self.checkpoint, now=self.own, server_now=self.server_now, cadence=self.cadence)
        match step:
            case Sleep():
                return max(step.until - self.own, SECOND)
            case AwaitSignal():
                return HOUR
            case AskTime():
                self.hear()
                return MINUTE
            case Begin():
                self.move(step.due)
                self.intended = True
            case Add():
                self.ask(step.state, luck)
            case Poll():
                self.poll(luck)
            case Publish():
                self.publish(luck)
            case LookAgain():
                self.move(LookedAt())
        return timedelta()

    def ask(self, state: Requesting, luck: int) -> None:
        if not self.intended:
            found = recut(state.request, self.checkpoint, server_now=self.server_now, cadence=self.cadence)
            self.move(Retried(scope="", cut=found, server_time=self.server_now))
        self.intended = False
        state_now = self.checkpoint.state
        assert isinstance(state_now, Requesting)
        if state.request.window is not None:
            assert state_now.request.window is not None
            assert state_now.request.window.start == state.request.window.start, "the start stays fixed"
        self.check_rules(state_now.request)
        asked_at = self.time
        self.wait(SECOND / 3)
        self.hear()
        match luck:
            case 1:
                pass  # the answer is lost
            case 2:
                self.move(Blocked("already running"))
            case 3 if state.request.kind is ExportKind.WINDOW and not self.is_ledger:
                self.move(FiltersRefused("Invalid Filters"))
            case 4:
                self.move(Refused("no", self.own + HOUR))
            case _:
                self.ids += 1
                export_id = ExportId(f"e{self.ids}")
                self.called[export_id] = asked_at
                self.move(Added(export_id, asked_at - 0.5 * SECOND))

    def poll(self, luck: int) -> None:
        self.wait(5 * MINUTE)
        self.hear()
        match luck:
            case 1 | 2 | 3:
                self.move(Ended("failed", not_before=self.own + MINUTE))
            case 4:
                self.move(Abandoned("by a signal"))
            case _:
                self.move(Ready(FileList(0, 0, ""), Position()))

    def publish(self, luck: int) -> None:
        state = self.checkpoint.state
        if luck in (1, 2):
            return self.move(Ended("changed", not_before=self.own + MINUTE, expired=luck == 2))
        self.move(Published(Position(), Counts(), {}, "t", 1, file_ended=True, last=True))
        request: Request = getattr(state, "request")  # noqa: B009 (any state that publishes has one)
        if request.window is not None:
            self.windows.append(request.window)
        elif self.first_snapshot is None:
            self.first_snapshot = self.called[getattr(state, "export_id")]  # noqa: B009
        return None

    def check_rules(self, request: Request) -> None:
        """What Mews would say of the request, by its own clock."""
        window = request.window
        assert (window is None) == (request.kind is ExportKind.SNAPSHOT)
        if window is None:
            assert not self.is_ledger
            return
        assert window.start < window.end
        assert window.end - window.start <= LONGEST
        if self.is_ledger:
            assert (window.start.hour, window.end.hour, window.end.microsecond) == (0, 0, 0)
            assert window.end - DAY <= self.time
        else:
            assert window.end <= self.time - SETTLED
            assert (window.start.microsecond, window.end.microsecond) == (0, 0)

    def check_chain(self) -> None:
        """No gap: each window begins before all of the earlier ones end, the first before the first snapshot."""
        if not self.windows:
            return
        overlap = self.rules.lookback if isinstance(self.rules, LedgerWindows) else self.rules.overlap
        if isinstance(self.rules, UpdateWindows):
            assert self.first_snapshot is not None
            assert self.windows[0].start <= self.first_snapshot - overlap
        end = self.windows[0].end
        for window in self.windows[1:]:
            assert window.start <= end, "a gap"
            if isinstance(self.rules, UpdateWindows):
                assert window.start <= end - overlap, "no overlap"
            end = max(end, window.end)
        covered = self.checkpoint.covered_to
        assert covered is not None
        assert covered <= end

    def settle(self) -> None:
        """Nothing goes wrong any more, until the chain is in step."""
        self.signal(Resume())
        for _ in range(2000):
            idle = self.turn(0)
            self.wait(min(idle, DAY))
            chain = self.checkpoint.covered_to
            lag = self.time - chain if chain else DAY
            if idle and self.windows and lag < (2 * DAY if self.is_ledger else HOUR):
                return
        pytest.fail("the chain never gets in step")


waits = st.one_of(
    st.timedeltas(timedelta(), 10 * SECOND), st.timedeltas(timedelta(), DAY), st.timedeltas(timedelta(), 400 * DAY)
)
happenings = st.one_of(
    st.tuples(st.just("turns"), st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4]), min_size=1, max_size=12)),
    st.tuples(st.just("wait"), waits),
    st.tuples(st.just("clock"), st.timedeltas(-800 * DAY, 800 * DAY)),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("signal"), st.sampled_from([WindowNow(), SnapshotNow(), Pause(), Resume()])),
)


@pytest.mark.parametrize("rules", [UPDATES, LEDGER], ids=["updates", "ledger"])
@given(history=st.lists(happenings, max_size=25))
def test_windows_cover_everything_without_a_gap_and_break_no_rule_whatever_happens(
    rules: UpdateWindows | LedgerWindows, history: list[tuple[str, object]]
) -> None:
    life = History(rules)
    for what, value in history:
        match what, value:
            case "turns", list():
                for luck in value:
                    life.wait(min(life.turn(luck), HOUR))
            case "wait", timedelta():
                life.wait(value)
            case "clock", timedelta():
                life.error = value
            case "signal", _:
                life.signal(value)  # type: ignore[arg-type]
            case _:
                life.restart()
        life.check_chain()
    life.error = min(life.error, DAY)
    life.settle()
    life.check_chain()
