"""What a stream does next follows from its checkpoint and the time, at the second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamer.core.checkpoint import Checkpoint, Completed
from streamer.core.inputs import Due
from streamer.core.schedule import (
    Add,
    Begin,
    Cadence,
    LookAgain,
    Poll,
    Publish,
    Sleep,
    Step,
    freshness,
    next_step,
    snapshot_due_at,
)
from streamer.core.states import (
    Active,
    Counts,
    FileList,
    Idle,
    Publishing,
    Request,
    Requesting,
    State,
    Stopped,
    Waiting,
)
from streamer.core.windows import UpdateWindows
from streamer.model import ExportId, ExportKind, Window
from tests.unit.cases import cases

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WEEK = timedelta(days=7)
RULES = UpdateWindows(overlap=timedelta(minutes=10), margin=timedelta(minutes=1))
WEEKLY = Cadence(snapshot_interval=WEEK, windows=RULES)
REQUEST = Request(cycle=1, kind=ExportKind.SNAPSHOT, requested_at=NOW - WEEK)
REQUESTING = Requesting(request=REQUEST)
WAITING = Waiting(request=REQUEST, export_id=ExportId("e1"))
PUBLISHING = Publishing(request=REQUEST, export_id=ExportId("e1"), ready_at=NOW, files=FileList(0, 0, ""))
BEGIN = Begin(Due(ExportKind.SNAPSHOT, server_time=NOW))


def completed(requested_at: datetime, window: Window | None = None) -> Completed:
    return Completed(ExportId("e0"), requested_at, requested_at + timedelta(hours=3), Counts(), window)


def step(checkpoint: Checkpoint, *, cadence: Cadence = WEEKLY) -> Step:
    return next_step(checkpoint, now=NOW, server_now=NOW, cadence=cadence)


def test_the_first_snapshot_is_due_at_once() -> None:
    assert step(Checkpoint()) == BEGIN


@cases(
    ("requested_at", "expected"),
    [
        (NOW - WEEK - SECOND, BEGIN),
        (NOW - WEEK, BEGIN),
        (NOW - WEEK + SECOND, Sleep(NOW + SECOND)),
        (NOW, Sleep(NOW + WEEK)),
        (NOW + WEEK, Sleep(NOW + 2 * WEEK)),
    ],
)
def test_the_next_snapshot_is_due_an_interval_after_the_last_ones_request(
    requested_at: datetime, expected: Step
) -> None:
    assert step(Checkpoint(snapshot=completed(requested_at))) == expected


@cases(("not_before", "expected"), [(NOW - SECOND, BEGIN), (NOW, BEGIN), (NOW + SECOND, Sleep(NOW + SECOND))])
def test_a_failed_export_holds_the_next_back(not_before: datetime, expected: Step) -> None:
    assert step(Checkpoint(state=Idle(not_before=not_before))) == expected


def test_holding_back_never_brings_a_snapshot_forward() -> None:
    checkpoint = Checkpoint(state=Idle(not_before=NOW - SECOND), snapshot=completed(NOW))
    assert step(checkpoint) == Sleep(NOW + WEEK)


def test_once_a_snapshot_is_due_whenever_none_is_under_way_but_still_held_back() -> None:
    always = Cadence(snapshot_interval=WEEK, windows=RULES, always_due=True)
    assert step(Checkpoint(snapshot=completed(NOW)), cadence=always) == BEGIN
    held_back = Checkpoint(state=Idle(not_before=NOW + SECOND), snapshot=completed(NOW))
    assert step(held_back, cadence=always) == Sleep(NOW + SECOND)
    assert step(Checkpoint(state=WAITING), cadence=always) == Poll(WAITING)


@cases(
    ("state", "expected"),
    [(REQUESTING, Add(REQUESTING)), (WAITING, Poll(WAITING)), (PUBLISHING, Publish(PUBLISHING))],
)
def test_an_export_under_way_goes_on_whatever_is_due(state: State, expected: Step) -> None:
    assert step(Checkpoint(state=state)) == expected
    assert step(Checkpoint(state=state, snapshot=completed(NOW))) == expected


@cases("before", [Idle(), REQUESTING, WAITING, PUBLISHING])
@cases(("look_at", "expected"), [(NOW - SECOND, LookAgain()), (NOW, LookAgain()), (NOW + SECOND, Sleep(NOW + SECOND))])
def test_a_stopped_stream_looks_again_when_its_time_comes(before: Active, look_at: datetime, expected: Step) -> None:
    assert step(Checkpoint(state=Stopped("no", NOW - WEEK, look_at, before))) == expected


def test_due_is_counted_from_the_request_and_not_from_the_end_of_an_export() -> None:
    checkpoint = Checkpoint(snapshot=completed(NOW - WEEK))
    assert snapshot_due_at(checkpoint, now=NOW, cadence=WEEKLY) == NOW


def test_nothing_is_fresh_before_the_first_completed_export() -> None:
    assert freshness(Checkpoint(state=PUBLISHING)) is None


def test_a_stream_is_as_fresh_as_its_newest_completed_snapshot_or_window() -> None:
    window = Window(NOW - 2 * SECOND, NOW - SECOND)
    snapshot_alone = Checkpoint(snapshot=completed(NOW - WEEK))
    both = Checkpoint(snapshot=completed(NOW - WEEK), window=completed(NOW, window))
    newer_snapshot = Checkpoint(snapshot=completed(NOW), window=completed(NOW, window))
    assert freshness(snapshot_alone) == NOW - WEEK
    assert freshness(both) == NOW - SECOND
    assert freshness(newer_snapshot) == NOW
