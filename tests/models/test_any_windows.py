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
    LedgerWindows,
    UpdateWindows,
)
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, StreamKey, Window
from tests.unit.core.rules_of_windows import DAY, HOUR, LEDGER, MINUTE, SECOND, UPDATES

START = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


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
