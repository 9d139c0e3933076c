from datetime import UTC, datetime, timedelta

import msgspec

from streamer.core.checkpoint import Checkpoint, Completed
from streamer.core.plan import Planned, planned
from streamer.core.schedule import Cadence
from streamer.core.states import (
    Counts,
    FileList,
    Idle,
    Position,
    Publishing,
    Request,
    Requesting,
    State,
    Stopped,
    Waiting,
)
from streamer.core.windows import UpdateWindows
from streamer.model import ExportId, ExportKind, Window

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
REQUEST = Request(cycle=1, kind=ExportKind.SNAPSHOT, requested_at=NOW)
EXPORT = ExportId("6a3c5f2e-0000-4000-8000-000000000001")
WINDOWS = UpdateWindows(overlap=timedelta(minutes=10), margin=timedelta(minutes=1))
CADENCE = Cadence(snapshot_interval=24 * HOUR, windows=WINDOWS)
DONE = Completed(export_id=EXPORT, requested_at=NOW - HOUR, completed_at=NOW, counts=Counts())


def plan_of(state: State, *, snapshot: Completed | None = None, failures: int = 0) -> Planned:
    checkpoint = Checkpoint(state=state, snapshot=snapshot, failures=failures)
    return planned(checkpoint, now=NOW, cadence=CADENCE)


def test_a_new_stream_asks_for_a_snapshot_at_once() -> None:
    assert plan_of(Idle()) == Planned("asks Mews for an export", kind=ExportKind.SNAPSHOT)


def test_what_is_under_way_is_gone_on_with() -> None:
    files = FileList(count=3, size=9, digest="d")
    publishing = Publishing(
        request=REQUEST, export_id=EXPORT, ready_at=NOW, files=files, position=Position(file=1, name="b", size=3)
    )
    assert "again" in plan_of(Requesting(request=REQUEST)).does
    assert plan_of(Waiting(request=REQUEST, export_id=EXPORT)).export_id == EXPORT
    assert plan_of(publishing).does == "goes on publishing file 2 of 3"


def test_a_stream_that_waits_says_until_when() -> None:
    stopped = Stopped(reason="no", since=NOW, look_at=NOW + HOUR, before=Idle())
    assert plan_of(Idle(), snapshot=DONE).at == NOW + 23 * HOUR
    assert "failed" in plan_of(Idle(not_before=NOW + HOUR), failures=1).does
    assert plan_of(stopped) == Planned("is stopped, and looks again whether it can go on", at=NOW + HOUR)


def test_a_window_is_planned_before_it_is_asked_for() -> None:
    cadence = msgspec.structs.replace(CADENCE, update_interval=HOUR)
    plan = planned(Checkpoint(snapshot=DONE), now=NOW, cadence=cadence)
    assert plan.kind is ExportKind.WINDOW
    assert plan.window == Window(NOW - timedelta(minutes=70), NOW - timedelta(minutes=6))


def test_a_paused_stream_waits_for_a_signal() -> None:
    paused = Checkpoint(snapshot=DONE, paused=True)
    assert planned(paused, now=NOW, cadence=CADENCE) == Planned("is paused until a signal resumes it")
