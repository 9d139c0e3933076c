"""What an export leaves behind: complete, come to nothing, or with too much that is wrong in it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from streamer.core.checkpoint import Completed, LastError, WantedSnapshot
from streamer.core.inputs import Due, Ended, Overflowed
from streamer.core.states import Counts, Idle, Publishing, Request, Share, State, Stopped, Waiting
from streamer.model import ExportId, ExportKind, Window
from tests.unit.cases import cases
from tests.unit.core.lives import (
    E1,
    IDLE,
    INPUTS,
    LAST,
    LATER,
    NOW,
    PUBLISHING,
    REQUEST,
    REQUESTED,
    WAITING,
    WINDOW,
    WINDOW_PUBLISHING,
    WINDOW_REQUEST,
    WINDOW_WAITING,
    after,
    checkpoint_of,
    told,
)


@cases("state", [WAITING, PUBLISHING])
@cases(("expired", "body"), [(False, told("export_failed", reason="broken")), (True, told("export_expired"))])
def test_an_export_that_came_to_nothing_is_told_and_counted(state: State, expired: bool, body: dict[str, Any]) -> None:
    checkpoint, events = after(state, Ended("broken", not_before=LATER, expired=expired))
    error = LastError(at=NOW, message="broken")
    assert checkpoint == checkpoint_of(Idle(not_before=LATER, failed=ExportKind.SNAPSHOT), failures=3, error=error)
    assert events == [body]


def test_too_many_dead_letters_fail_the_export_and_stop_the_stream_before_a_new_one() -> None:
    checkpoint, events = after(PUBLISHING, Overflowed("too many", LATER), partitions=12)
    stopped = Stopped(reason="too many", since=NOW, look_at=LATER, before=Idle())
    assert checkpoint == checkpoint_of(stopped, partitions=12, error=LastError(at=NOW, message="too many"))
    assert events == [told("export_failed", reason="too many")]


def test_what_is_wanted_begins_once_and_stays_wanted_while_it_comes_to_nothing() -> None:
    wanted = WantedSnapshot(changes_only=False)
    due = Due(ExportKind.SNAPSHOT, changes_only=False, wanted=True)
    begun, _ = after(IDLE, due, wanted_snapshot=wanted, wanted_window=True)
    assert (begun.wanted_snapshot, begun.wanted_window) == (None, True)
    request = msgspec.structs.replace(REQUEST, wanted=True, changes_only=False)
    waiting = Waiting(request=request, export_id=E1)
    assert after(waiting, INPUTS["ended"])[0].wanted_snapshot == wanted
    # Another signal has come meanwhile, which would be content with changes.
    assert after(waiting, INPUTS["ended"], wanted_snapshot=WantedSnapshot())[0].wanted_snapshot == wanted
    publishing = msgspec.structs.replace(PUBLISHING, request=request)
    assert after(publishing, INPUTS["overflowed"])[0].wanted_snapshot == wanted
    assert after(waiting, INPUTS["abandoned"])[0].wanted_snapshot is None
    window = msgspec.structs.replace(WINDOW_WAITING, request=msgspec.structs.replace(WINDOW_REQUEST, wanted=True))
    assert after(window, INPUTS["ended"])[0].wanted_window
    assert not after(IDLE, Due(ExportKind.WINDOW, window=WINDOW, wanted=True), wanted_window=True)[0].wanted_window


def test_another_scope_counts_once_nothing_is_left_of_what_only_the_last_one_reached() -> None:
    request = msgspec.structs.replace(REQUEST, scope="narrow")
    wide = Completed(
        export_id=ExportId("e0"), requested_at=REQUESTED, completed_at=REQUESTED, counts=Counts(), scope="wide"
    )
    compared = msgspec.structs.replace(PUBLISHING, request=request, share=Share(end=12))

    def scopes_after(before: Publishing, *, snapshot: Completed | None = wide, **withheld: Any) -> Any:
        last = msgspec.structs.replace(LAST, share=before.share, **withheld)
        completed = after(before, last, snapshot=snapshot)[0].snapshot
        assert completed is not None
        return completed.scope, completed.earlier_scope

    assert scopes_after(compared, withheld=1, withheld_why="scope_changed") == ("narrow", "wide")
    assert scopes_after(compared, withheld=1, withheld_why="unreadable_lines") == ("narrow", "wide")
    assert scopes_after(msgspec.structs.replace(compared, share=None)) == ("narrow", "wide")
    assert scopes_after(compared) == ("narrow", None)
    assert scopes_after(compared, snapshot=None, withheld=1, withheld_why="too_many") == ("narrow", None)
    still = msgspec.structs.replace(wide, scope="narrow", earlier_scope="wide")
    assert scopes_after(compared, snapshot=still, withheld=1, withheld_why="scope_changed") == ("narrow", "wide")
    back = msgspec.structs.replace(wide, scope="other", earlier_scope="narrow")
    assert scopes_after(compared, snapshot=back, withheld=1, withheld_why="too_many") == ("narrow", None)


def test_tombstones_are_let_through_until_the_next_snapshot_completes() -> None:
    assert after(WINDOW_PUBLISHING, LAST, let_tombstones_through=True)[0].let_tombstones_through
    assert not after(PUBLISHING, LAST, let_tombstones_through=True)[0].let_tombstones_through


def test_a_completed_window_is_remembered_beside_the_snapshot() -> None:
    window = Window(REQUESTED, NOW)
    request = Request(cycle=4, kind=ExportKind.WINDOW, requested_at=REQUESTED, window=window)
    snapshot = Completed(ExportId("e0"), REQUESTED, REQUESTED, Counts())
    checkpoint, events = after(msgspec.structs.replace(PUBLISHING, request=request), LAST, snapshot=snapshot)
    assert checkpoint.snapshot == snapshot
    assert checkpoint.window is not None
    assert checkpoint.window.window == window
    assert events[-1]["window"] == {"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:30:00Z"}


def test_a_completed_window_moves_the_chain_and_forgets_its_failures() -> None:
    span = timedelta(hours=2)
    checkpoint, _ = after(WINDOW_PUBLISHING, LAST, covered_to=WINDOW.start, window_failures=4, window_span=span)
    assert checkpoint.covered_to == WINDOW.end
    assert (checkpoint.window_failures, checkpoint.window_span) == (0, None)
    assert checkpoint.window is not None
    assert checkpoint.window.scope == "s1"


def test_a_window_that_comes_to_nothing_leaves_the_chain_where_it_is_and_halves_the_third_time() -> None:
    checkpoint, _ = after(WINDOW_WAITING, INPUTS["ended"], covered_to=WINDOW.start, window_failures=1)
    assert (checkpoint.covered_to, checkpoint.window_failures, checkpoint.window_span) == (WINDOW.start, 2, None)
    checkpoint, _ = after(WINDOW_WAITING, INPUTS["ended"], covered_to=WINDOW.start, window_failures=2)
    assert (checkpoint.window_failures, checkpoint.window_span) == (3, timedelta(minutes=30))
    assert checkpoint.state == Idle(not_before=LATER, failed=ExportKind.WINDOW)


def test_the_first_snapshot_begins_the_chain_at_mews_time_of_its_request_and_later_ones_leave_it() -> None:
    at_mews = REQUESTED - timedelta(days=3)
    request = msgspec.structs.replace(REQUEST, server_time=at_mews)
    publishing = msgspec.structs.replace(PUBLISHING, request=request)
    assert after(publishing, LAST)[0].covered_to == at_mews
    assert after(publishing, LAST, covered_to=WINDOW.start)[0].covered_to == WINDOW.start
    before_windows = Completed(ExportId("e0"), WINDOW.start, REQUESTED, Counts())
    assert after(publishing, LAST, snapshot=before_windows)[0].covered_to == WINDOW.start
