"""When a window is due, and what goes before what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from streamer.core.checkpoint import Checkpoint, Completed, WantedSnapshot
from streamer.core.inputs import Due
from streamer.core.schedule import (
    Add,
    AskTime,
    AwaitSignal,
    Begin,
    Cadence,
    Sleep,
    Step,
    covered_to,
    freshness,
    next_step,
    recut,
)
from streamer.core.states import Counts, Idle, Request, Requesting
from streamer.core.windows import LEDGER_BEGINS, LedgerWindows, UpdateWindows
from streamer.model import ExportId, ExportKind, Window
from tests.unit.cases import cases

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
RULES = UpdateWindows(overlap=10 * MINUTE, margin=MINUTE)
CADENCE = Cadence(snapshot_interval=7 * DAY, windows=RULES, update_interval=15 * MINUTE)
LEDGER = msgspec.structs.replace(CADENCE, windows=LedgerWindows(lookback=7 * DAY))
CHAIN = NOW - HOUR
WINDOW = Window(CHAIN - 10 * MINUTE, NOW - 6 * MINUTE)
WINDOW_DUE = Begin(
    Due(ExportKind.WINDOW, window=WINDOW, covers_to=WINDOW.end, server_time=NOW),
)
SNAPSHOT_DUE = Begin(Due(ExportKind.SNAPSHOT, server_time=NOW))
E0, E1 = ExportId("e0"), ExportId("e1")


def completed(requested_at: datetime, *, partial: bool = False, scope: str = "") -> Completed:
    return Completed(E0, requested_at, requested_at, Counts(), partial=partial, scope=scope)


def in_step(**fields: Any) -> Checkpoint:
    """A stream that has had a snapshot an hour ago, and a window 15 minutes ago."""
    known = {"snapshot": completed(NOW - HOUR), "window": completed(NOW - 15 * MINUTE), "covered_to": CHAIN}
    return Checkpoint(**{**known, **fields})


def step(
    checkpoint: Checkpoint, *, cadence: Cadence = CADENCE, now: datetime = NOW, server_now: datetime | None = NOW
) -> Step:
    return next_step(checkpoint, now=now, server_now=server_now, cadence=cadence)


@cases(("ago", "expected"), [(14 * MINUTE, Sleep(NOW + MINUTE)), (15 * MINUTE, WINDOW_DUE), (HOUR, WINDOW_DUE)])
def test_a_window_is_due_an_interval_after_the_last_ones_request(ago: timedelta, expected: Step) -> None:
    assert step(in_step(window=completed(NOW - ago))) == expected


def test_the_first_window_is_due_an_interval_after_the_first_snapshots_request() -> None:
    assert step(in_step(window=None)) == WINDOW_DUE
    fresh = in_step(window=None, snapshot=completed(NOW - MINUTE))
    assert step(fresh) == Sleep(NOW + 14 * MINUTE)


def test_before_the_first_snapshot_there_is_no_window() -> None:
    assert step(Checkpoint()) == SNAPSHOT_DUE
    assert covered_to(Checkpoint(), CADENCE) is None


def test_a_window_that_is_due_goes_before_a_snapshot_that_is_due() -> None:
    assert step(in_step(snapshot=completed(NOW - 8 * DAY))) == WINDOW_DUE
    later = in_step(snapshot=completed(NOW - 8 * DAY), window=completed(NOW))
    assert step(later) == SNAPSHOT_DUE


def test_after_a_window_that_ended_early_the_next_is_due_at_once() -> None:
    assert step(in_step(window=completed(NOW, partial=True))) == WINDOW_DUE


def test_a_window_that_came_to_nothing_is_due_again_when_its_wait_is_over() -> None:
    failed = in_step(window=completed(NOW), window_failures=1, state=Idle(not_before=NOW + MINUTE))
    assert step(failed) == Sleep(NOW + MINUTE)
    assert step(failed, now=NOW + MINUTE) == WINDOW_DUE


def test_windows_that_fail_again_and_again_take_turns_with_a_snapshot_that_is_due() -> None:
    failing = in_step(
        snapshot=completed(NOW - 8 * DAY), window_failures=3, state=Idle(not_before=NOW, failed=ExportKind.WINDOW)
    )
    assert step(failing) == SNAPSHOT_DUE
    turn = msgspec.structs.replace(failing, state=Idle(not_before=NOW, failed=ExportKind.SNAPSHOT))
    assert step(turn) == WINDOW_DUE
    not_yet = msgspec.structs.replace(failing, window_failures=2)
    assert step(not_yet) == WINDOW_DUE


def test_windows_that_take_longer_than_the_interval_between_them_take_turns_with_a_snapshot_that_is_due() -> None:
    slow = msgspec.structs.replace(completed(NOW - HOUR), completed_at=NOW)
    turn = in_step(snapshot=completed(NOW - 8 * DAY), window=slow)
    assert step(turn) == SNAPSHOT_DUE
    assert step(in_step(snapshot=completed(NOW - DAY), window=slow)) == WINDOW_DUE
    # The snapshot was slow too, and is due again already: now it is the window's turn.
    lately = msgspec.structs.replace(completed(NOW - 8 * DAY), completed_at=NOW + MINUTE)
    assert step(in_step(snapshot=lately, window=slow), now=NOW + MINUTE, server_now=NOW) == WINDOW_DUE


def test_off_means_snapshots_only_but_for_a_window_that_a_signal_wants() -> None:
    off = msgspec.structs.replace(CADENCE, update_interval=None)
    assert step(in_step(), cadence=off) == Sleep(NOW - HOUR + 7 * DAY)
    wanted = step(in_step(wanted_window=True), cadence=off)
    assert isinstance(wanted, Begin)
    assert (wanted.due.window, wanted.due.wanted) == (WINDOW, True)


def test_where_filters_are_refused_windows_are_tried_again_a_day_later() -> None:
    refused = in_step(filters_refused_at=NOW - DAY + MINUTE)
    assert step(refused) == Sleep(NOW + MINUTE)
    assert step(refused, now=NOW + MINUTE) == WINDOW_DUE
    assert isinstance(step(in_step(filters_refused_at=NOW, wanted_window=True)), Begin)


def test_a_wanted_snapshot_is_due_at_once_and_publishes_everything_where_that_is_wanted() -> None:
    later = in_step(window=completed(NOW), wanted_snapshot=WantedSnapshot(changes_only=False))
    assert step(later) == Begin(Due(ExportKind.SNAPSHOT, changes_only=False, server_time=NOW, wanted=True))


def test_another_scope_makes_a_snapshot_due_at_once() -> None:
    scoped = msgspec.structs.replace(CADENCE, scope="s1")
    assert step(in_step(window=completed(NOW)), cadence=scoped) == Begin(
        Due(ExportKind.SNAPSHOT, server_time=NOW, scope="s1")
    )
    same = in_step(window=completed(NOW), snapshot=completed(NOW - HOUR, scope="s1"))
    assert isinstance(step(same, cadence=scoped), Sleep)


def test_while_mews_has_not_told_the_time_it_is_asked_before_a_window_is_cut() -> None:
    assert step(in_step(), server_now=None) == AskTime(E0)
    request = Request(cycle=1, kind=ExportKind.WINDOW, requested_at=NOW, window=WINDOW)
    requesting = in_step(state=Requesting(request=request))
    assert step(requesting, server_now=None) == AskTime(E0)
    assert isinstance(step(requesting), Add)


def test_windows_are_cut_by_mews_clock_and_are_due_by_ones_own() -> None:
    found = step(in_step(), now=NOW + 90 * DAY, server_now=NOW)
    assert found == WINDOW_DUE


def test_a_clock_of_mews_behind_the_chain_makes_no_window() -> None:
    assert step(in_step(covered_to=NOW + DAY)) == AskTime(E0)
    assert step(in_step(covered_to=NOW + DAY, snapshot=completed(NOW - 8 * DAY))) == SNAPSHOT_DUE


def test_a_request_that_lies_far_in_the_future_was_made_by_a_wrong_clock_and_holds_nothing_back() -> None:
    future = completed(NOW + 365 * DAY)
    assert step(in_step(window=future)) == WINDOW_DUE
    assert step(in_step(snapshot=future, window=completed(NOW))) == SNAPSHOT_DUE


def test_a_paused_stream_waits_for_a_signal_whatever_is_due() -> None:
    assert step(Checkpoint(paused=True)) == AwaitSignal()
    request = Request(cycle=1, kind=ExportKind.SNAPSHOT, requested_at=NOW)
    assert step(in_step(paused=True, state=Requesting(request=request))) == AwaitSignal()


def test_the_end_of_a_window_is_cut_anew_at_each_try_and_its_start_is_kept() -> None:
    start = CHAIN - 25 * MINUTE
    request = Request(cycle=1, kind=ExportKind.WINDOW, requested_at=NOW, window=Window(start, CHAIN))
    found = recut(request, in_step(), server_now=NOW + HOUR, cadence=CADENCE)
    assert found is not None
    assert found.window == Window(start, NOW + HOUR - 6 * MINUTE)
    assert recut(request, in_step(), server_now=None, cadence=CADENCE) is None


def test_a_checkpoint_from_before_windows_begins_the_chain_at_its_last_snapshot() -> None:
    assert covered_to(Checkpoint(snapshot=completed(CHAIN)), CADENCE) == CHAIN


def test_a_ledger_has_windows_from_the_beginning_and_never_a_snapshot() -> None:
    first = step(Checkpoint(), cadence=LEDGER)
    assert isinstance(first, Begin)
    assert first.due.kind is ExportKind.WINDOW
    assert first.due.window is not None
    assert first.due.window.start == LEDGER_BEGINS - 7 * DAY
    assert first.due.partial
    off = msgspec.structs.replace(LEDGER, update_interval=None)
    assert step(Checkpoint(window=completed(NOW), covered_to=NOW), cadence=off) == Sleep(NOW + 7 * DAY)


def test_once_a_ledger_asks_for_a_window_and_anything_else_for_a_snapshot() -> None:
    once = msgspec.structs.replace(LEDGER, always_due=True)
    assert isinstance(step(Checkpoint(window=completed(NOW), covered_to=NOW), cadence=once), Begin)
    assert step(in_step(), cadence=msgspec.structs.replace(CADENCE, always_due=True)) == SNAPSHOT_DUE


def test_a_ledger_is_no_fresher_than_its_last_request_though_its_day_ends_later() -> None:
    today = Window(NOW - 7 * DAY, NOW + 12 * HOUR)
    done = msgspec.structs.replace(completed(NOW - MINUTE), window=today)
    assert freshness(Checkpoint(window=done)) == NOW - MINUTE
