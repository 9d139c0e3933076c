"""Every pair of state and input: what follows and what is told, or that it can't happen; and how exports begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import msgspec
import pytest

from streamer.core.checkpoint import Completed, LastError, WantedSnapshot
from streamer.core.inputs import Added, Blocked, Due, FiltersRefused, LookedAt, Ready, Refused, Retried
from streamer.core.lifecycle import LifecycleError
from streamer.core.states import Active, Counts, Publishing, Request, Requesting, Retired, Retiring, Stopped, Waiting
from streamer.core.windows import Cut, LedgerWindows, UpdateWindows, WindowRules, cut_of_earlier_try
from streamer.model import ExportKind, Window
from tests.unit.cases import cases
from tests.unit.core.lives import (
    BLOCKED,
    E1,
    FILES,
    FIRST,
    IDLE,
    INPUTS,
    LATER,
    NOW,
    PUBLISHING,
    RECONCILING,
    REQUEST,
    REQUESTED,
    REQUESTING,
    RETIRING,
    STATES,
    WAITING,
    WINDOW,
    WINDOW_REQUEST,
    after,
    checkpoint_of,
    told,
)

DAYS = Window(datetime(2026, 2, 20, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
COMPLETED = Completed(E1, REQUESTED, REQUESTED, Counts())
NEXT_PHASE = {
    ("idle", "due"): "requesting",
    ("idle", "refused"): "stopped",
    ("requesting", "retried"): "requesting",
    ("requesting", "added"): "waiting",
    ("requesting", "blocked"): "requesting",
    ("requesting", "refused"): "stopped",
    ("requesting", "adopted"): "waiting",
    ("requesting", "filters refused"): "idle",
    ("waiting", "abandoned"): "idle",
    ("publishing", "abandoned"): "idle",
    ("waiting", "ready"): "publishing",
    ("waiting", "ended"): "idle",
    ("waiting", "refused"): "stopped",
    ("publishing", "published"): "publishing",
    ("publishing", "ended"): "idle",
    ("publishing", "overflowed"): "stopped",
    ("publishing", "refused"): "stopped",
    ("reconciling", "entombed"): "reconciling",
    ("reconciling", "refused"): "stopped",
    ("reconciling", "abandoned"): "idle",
    ("stopped", "looked at"): "waiting",
    **{(state, "taken out"): "retiring" for state in STATES if state != "retiring"},
    ("retiring", "entombed"): "retiring",
    ("retiring", "looked at"): "idle",
    ("retired", "looked at"): "idle",
}
TOLD = {
    ("requesting", "added"): ["export_requested"],
    ("requesting", "adopted"): ["export_requested"],
    ("requesting", "blocked"): ["export_blocked"],
    ("waiting", "ready"): ["export_ready"],
    ("waiting", "ended"): ["export_failed"],
    ("publishing", "ended"): ["export_failed"],
    ("publishing", "overflowed"): ["export_failed"],
    ("reconciling", "abandoned"): ["export_completed"],
    ("waiting", "abandoned"): ["export_failed"],
    ("publishing", "abandoned"): ["export_failed"],
    ("waiting", "taken out"): ["export_failed"],
    ("publishing", "taken out"): ["export_failed"],
    ("reconciling", "taken out"): ["export_completed"],
    ("stopped", "taken out"): ["export_failed"],
}


@cases(("state", "event"), list(product(STATES, INPUTS)))
def test_a_pair_of_state_and_input_leads_where_the_design_says_or_can_not_happen(state: str, event: str) -> None:
    pair = (state, event)
    if pair not in NEXT_PHASE:
        with pytest.raises(LifecycleError, match=f"{type(INPUTS[event]).__name__} .* {state}"):
            after(STATES[state], INPUTS[event])
        return
    checkpoint, events = after(STATES[state], INPUTS[event])
    assert checkpoint.phase == NEXT_PHASE[pair]
    assert [body["event"] for body in events] == TOLD.get(pair, [])
    assert (checkpoint.v, checkpoint.term, checkpoint.owner) == (1, 3, "me")


def test_a_due_export_begins_a_new_cycle_with_the_time_of_its_request() -> None:
    checkpoint, events = after(IDLE, Due(ExportKind.SNAPSHOT))
    request = Request(cycle=5, kind=ExportKind.SNAPSHOT, requested_at=NOW)
    assert checkpoint == checkpoint_of(Requesting(request=request), cycle=5)
    assert not events


def test_a_due_window_is_asked_for_as_it_was_cut() -> None:
    window = Window(REQUESTED, NOW)
    checkpoint, _ = after(IDLE, Due(ExportKind.WINDOW, window))
    assert isinstance(checkpoint.state, Requesting)
    assert checkpoint.state.request == Request(cycle=5, kind=ExportKind.WINDOW, requested_at=NOW, window=window)


def test_a_repeated_request_stays_in_its_cycle() -> None:
    checkpoint, _ = after(BLOCKED, Retried())
    assert checkpoint == checkpoint_of(msgspec.structs.replace(BLOCKED, attempt=3))


def test_an_accepted_request_gets_its_id_and_forgets_the_last_error() -> None:
    checkpoint, events = after(REQUESTING, Added(E1))
    assert checkpoint == checkpoint_of(WAITING, error=None)
    assert events == [told("export_requested")]


def test_a_blocked_request_is_told_once_and_keeps_since_when() -> None:
    first, events = after(REQUESTING, Blocked("already running"))
    noted = LastError(at=NOW, message="already running")
    assert first == checkpoint_of(msgspec.structs.replace(REQUESTING, blocked_since=NOW), error=noted)
    assert events == [told("export_blocked", export_id=None, reason="already running")]
    again, events = after(BLOCKED, Blocked("still running"))
    assert again.state == BLOCKED
    assert again.error == LastError(at=NOW, message="still running")
    assert not events


@cases("state", [IDLE, REQUESTING, WAITING, PUBLISHING, RECONCILING])
def test_a_refused_stream_stops_and_later_goes_on_exactly_where_it_was(state: Active) -> None:
    stopped, events = after(state, Refused("401", LATER))
    error = LastError(at=NOW, message="401")
    assert stopped == checkpoint_of(Stopped(reason="401", since=NOW, look_at=LATER, before=state), error=error)
    assert not events
    assert after(stopped.state, LookedAt())[0].state == state


def test_a_ready_export_is_published_from_its_first_byte() -> None:
    checkpoint, events = after(WAITING, Ready(files=FILES, first=FIRST))
    begun = Publishing(request=REQUEST, export_id=E1, ready_at=NOW, files=FILES, position=FIRST)
    assert checkpoint == checkpoint_of(begun, error=None)
    assert events == [told("export_ready", files=2, bytes=100)]


@cases(
    ("rules", "covered_to"),
    [
        (UpdateWindows(overlap=timedelta(), margin=timedelta()), DAYS.end),
        # Of the last day of a ledger nobody knows how much of it was over.
        (LedgerWindows(lookback=timedelta(days=1)), DAYS.end - timedelta(days=1)),
    ],
)
def test_an_adopted_export_of_an_earlier_try_covers_what_its_own_window_does(
    rules: WindowRules, covered_to: datetime
) -> None:
    later = Window(DAYS.start, DAYS.end + timedelta(days=1))
    request = msgspec.structs.replace(WINDOW_REQUEST, window=later, covers_to=later.end, adopted=True)
    ready = Ready(files=FILES, first=FIRST, cut=cut_of_earlier_try(rules, DAYS))
    state = after(Waiting(request=request, export_id=E1), ready)[0].state
    assert isinstance(state, Publishing)
    assert (state.request.window, state.request.covers_to, state.request.partial) == (DAYS, covered_to, True)


def test_the_time_at_mews_is_that_of_the_answer_where_it_was_not_known_before() -> None:
    for known, expected in ((None, NOW), (REQUESTED, REQUESTED)):
        requesting = Requesting(request=msgspec.structs.replace(REQUEST, server_time=known))
        state = after(requesting, Added(E1, NOW))[0].state
        assert isinstance(state, Waiting)
        assert state.request.server_time == expected


def test_a_window_is_asked_for_once_more_as_it_is_cut_now_and_a_snapshot_with_the_time_of_its_first_call() -> None:
    newer = Window(WINDOW.start, NOW)
    retried = Retried(scope="s2", cut=Cut(newer, covers_to=NOW, partial=True), server_time=NOW)
    state = after(Requesting(request=WINDOW_REQUEST), retried)[0].state
    assert isinstance(state, Requesting)
    assert state.attempt == 2
    assert state.request == msgspec.structs.replace(
        WINDOW_REQUEST, window=newer, covers_to=NOW, partial=True, scope="s2", server_time=NOW
    )
    snapshot = msgspec.structs.replace(REQUEST, server_time=REQUESTED)
    state = after(Requesting(request=snapshot), Retried(scope="s2", server_time=NOW))[0].state
    assert isinstance(state, Requesting)
    assert state.request == msgspec.structs.replace(snapshot, scope="s2")


def test_an_account_that_may_not_filter_is_remembered_until_a_window_is_accepted() -> None:
    requesting = Requesting(request=WINDOW_REQUEST)
    checkpoint, events = after(requesting, FiltersRefused("Invalid Filters"))
    assert (checkpoint.state, checkpoint.filters_refused_at, checkpoint.failures) == (IDLE, NOW, 2)
    assert not events
    assert after(requesting, Added(E1), filters_refused_at=REQUESTED)[0].filters_refused_at is None
    assert after(REQUESTING, Added(E1), filters_refused_at=REQUESTED)[0].filters_refused_at == REQUESTED


def test_a_stream_that_retires_forgets_its_exports_but_not_where_its_keys_are() -> None:
    lived = {
        "snapshot": COMPLETED,
        "window": COMPLETED,
        "covered_to": REQUESTED,
        "window_failures": 2,
        "filters_refused_at": REQUESTED,
        "paused": True,
        "let_tombstones_through": True,
        "wanted_snapshot": WantedSnapshot(),
        "wanted_window": True,
    }
    kept = {"partitions": 12, "ends": {"1": 12}, "next_signal": 42, "failures": 0, "error": None}
    retiring, events = after(REQUESTING, INPUTS["taken out"], **lived, partitions=12, ends={"1": 12}, next_signal=42)
    assert retiring == checkpoint_of(Retiring(signal=41, begun_at=NOW, topic="mews.bill"), **kept)
    assert not events
    entombed = msgspec.structs.replace(INPUTS["entombed"], last=True)
    retired, (event,) = after(RETIRING, entombed, **kept)
    assert retired == checkpoint_of(Retired(at=NOW), **{**kept, "ends": {"1": 14}})
    assert event == told(
        "stream_retired",
        export_id=None,
        kind=None,
        topic="mews.bill",
        tombstones=5,
        seconds=5400.0,
        partitions={"1": {"records": 0, "tombstones": 5, "start": 7, "end": 14, "digest": "00000000000000ff"}},
    )
    assert after(retired.state, LookedAt(), **kept)[0] == checkpoint_of(IDLE, **kept)
