"""What goes wrong on a course: lines are spoilt, windows fail, and daemons are killed where it hurts."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from streamer.sandbox.exports import Export, Status
from streamer.sandbox.faults import FaultRule, Hold, SpoilLine
from streamer.sandbox.held_requests import Held
from tests.course import Course
from tests.daemon import PATIENCE
from tests.proxy import commit_after_tombstones_to


async def kill_in_snapshot(on: Course, entity_type: str) -> None:
    """SIGKILL while it is in the middle of the files of a snapshot, part of it published or found unchanged."""
    rule = FaultRule(on="file", entity_type=entity_type, file_index=1, action=Hold(at_byte=9))
    await _held(on, rule, lambda export: export.filters is None)
    await on.kill()


async def kill_amid_tombstones(on: Course, entity_type: str, *, committed: bool) -> None:
    """SIGKILL while tombstones are sent and their commit is on its way, or done and not yet answered.

    However many they are: on a slow machine so many days pass between two snapshots that the guard would hold
    them back for good.
    """
    await on.restart(max_tombstone_share=1.0)
    wanted = commit_after_tombstones_to(on.topic(entity_type))
    trap = on.proxy.hold_answer(wanted) if committed else on.proxy.hold(wanted)
    await trap.held(within=2 * PATIENCE)
    await on.kill()


def spoil(on: Course, entity_type: str, exports: int) -> None:
    """The next exports of the type have a line that can't become a record, in three different ways."""
    for action in (SpoilLine(how="cut"), SpoilLine(how="no_id"), SpoilLine(how="not_utf8")):
        on.simulator.add_fault(FaultRule(on="add", entity_type=entity_type, action=action, times=exports))


async def fail_window(on: Course, entity_type: str, longer_than: timedelta) -> None:
    """Mews fails the next window that is longer than this."""

    def is_long(export: Export) -> bool:
        updated = (export.filters or {}).get("UpdatedUtc")
        bounds = [datetime.fromisoformat(updated[name]) for name in ("StartUtc", "EndUtc")] if updated else []
        return bool(bounds) and bounds[1] - bounds[0] > longer_than

    held = await _held(on, FaultRule(on="add", entity_type=entity_type, action=Hold()), is_long)
    on.simulator.set_status(held.export_id or "", Status.FAILED)
    on.simulator.release(held.id)


async def _held(on: Course, rule: FaultRule, wanted: Callable[[Export], bool]) -> Held:
    """What the simulator holds back by this rule, of an export that is wanted; others are let go."""
    number = on.simulator.add_fault(rule)
    deadline = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < deadline:
        try:
            held = (await on.simulator.held(timeout=1.0))[0]
        except TimeoutError:
            if _has_struck(on, number):
                # Whoever was held has left again: a daemon that takes a shard over anew drops its downloads.
                number = on.simulator.add_fault(rule)
            continue
        if wanted(on.simulator.export(held.export_id or "")):
            return held
        on.simulator.release(held.id)
        number = on.simulator.add_fault(rule)
    state = on.simulator.state()
    told = {name: state[name] for name in ("requests_by_type", "faults", "held")}
    rows = await on.daemon.streams()
    raise AssertionError(f"nothing was held by {rule}: {told}\n{rows}\n{on.daemon.tail(60)}")


def _has_struck(on: Course, number: int) -> bool:
    return any(state.id == number and state.struck for state in on.simulator.fault_states())
