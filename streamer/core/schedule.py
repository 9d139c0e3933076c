"""What a stream does next, decided from its checkpoint and the time alone.

Two clocks: how often something is asked for goes by the daemon's own, where windows end by Mews'.

Each step is a value that the stream's loop carries out; nothing here waits or calls anybody.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_never

import msgspec

from streamer.core.checkpoint import Checkpoint
from streamer.core.inputs import Due
from streamer.core.states import Idle, Publishing, Reconciling, Request, Requesting, Retired, Retiring, Stopped, Waiting
from streamer.core.windows import TRIES, Cut, LedgerWindows, WindowRules, cut
from streamer.model import ExportId, ExportKind

FILTERS_AGAIN = timedelta(days=1)
"""How often windows are tried where Mews refuses the filter."""

_NEVER = datetime.max.replace(tzinfo=UTC)


class Sleep(msgspec.Struct, frozen=True):
    """Nothing to do before ``until``."""

    until: datetime


class Begin(msgspec.Struct, frozen=True):
    """An export is due: write down that it will be asked for."""

    due: Due


class Add(msgspec.Struct, frozen=True):
    """Call ``exports/add``, straight after writing down that it is called."""

    state: Requesting


class Poll(msgspec.Struct, frozen=True):
    """Ask Mews how far the export is."""

    state: Waiting


class Publish(msgspec.Struct, frozen=True):
    """Go on publishing the export: its files, or the tombstones that follow from them."""

    state: Publishing | Reconciling


class LookAgain(msgspec.Struct, frozen=True):
    """A stopped stream's time has come to try again where it was, or a retired one is configured again."""


class AskTime(msgspec.Struct, frozen=True):
    """A window is due, and Mews has told no time yet by which it would bring anything new: ask it for anything.

    ``export_id`` is one that it knew.
    """

    export_id: ExportId | None


class AwaitSignal(msgspec.Struct, frozen=True):
    """The stream is paused: nothing to do before a signal says so."""


Step = Sleep | Begin | Add | Poll | Publish | LookAgain | AskTime | AwaitSignal


class Cadence(msgspec.Struct, frozen=True):
    """How often exports are asked for, on the daemon's own clock; with ``always_due``, whenever none is under way.

    ``update_interval`` None: no windows but those that a signal asks for. ``scope`` is the digest of what is asked for.
    """

    snapshot_interval: timedelta
    windows: WindowRules
    update_interval: timedelta | None = None
    scope: str = ""
    always_due: bool = False

    @property
    def has_snapshots(self) -> bool:
        """Of a ledger there are none."""
        return not isinstance(self.windows, LedgerWindows)


def next_step(checkpoint: Checkpoint, *, now: datetime, server_now: datetime | None, cadence: Cadence) -> Step:
    """The one thing to do now. ``server_now`` is the time at Mews, None while unknown."""
    if checkpoint.paused:
        return AwaitSignal()
    state = checkpoint.state
    match state:
        case Idle():
            if state.not_before is not None and state.not_before > now:
                return Sleep(state.not_before)
            return _begin_or_sleep(checkpoint, state, now=now, server_now=server_now, cadence=cadence)
        case Requesting():
            if state.request.kind is ExportKind.WINDOW and server_now is None:
                return AskTime(_known_export(checkpoint))
            return Add(state)
        case Waiting():
            return Poll(state)
        case Publishing() | Reconciling():
            return Publish(state)
        case Stopped():
            return LookAgain() if state.look_at <= now else Sleep(state.look_at)
        case Retiring() | Retired():
            return LookAgain()
        case _:
            assert_never(state)


def _begin_or_sleep(
    checkpoint: Checkpoint, state: Idle, *, now: datetime, server_now: datetime | None, cadence: Cadence
) -> Step:
    """A window that is due goes before a snapshot that is due."""
    snapshot_at = snapshot_due_at(checkpoint, now=now, cadence=cadence)
    window_at = window_due_at(checkpoint, now=now, cadence=cadence)
    # Neither windows that fail again and again nor those that take longer than the interval between them may hold
    # snapshots back for ever: they take turns then.
    failing = state.failed is ExportKind.WINDOW and checkpoint.window_failures >= TRIES
    yields = failing or _has_had_its_turn(checkpoint, window_at)
    if window_at <= now and not (yields and snapshot_at <= now):
        if server_now is None:
            return AskTime(_known_export(checkpoint))
        if found := _cut(checkpoint, server_now, cadence):
            return Begin(_window_due(checkpoint, found, server_now, cadence))
    if snapshot_at <= now:
        return Begin(_snapshot_due(checkpoint, server_now, cadence))
    if window_at <= now:
        return AskTime(_known_export(checkpoint))
    return Sleep(min(window_at, snapshot_at))


def _has_had_its_turn(checkpoint: Checkpoint, window_at: datetime) -> bool:
    """Whether the last export was a window, and another one was due before it was done."""
    last, snapshot = checkpoint.window, checkpoint.snapshot
    if last is None or window_at > last.completed_at:
        return False
    return snapshot is None or snapshot.completed_at < last.completed_at


def recut(request: Request, checkpoint: Checkpoint, *, server_now: datetime | None, cadence: Cadence) -> Cut | None:
    """The window of a request with its end cut anew, for the next try; None where it stays as it is."""
    if request.window is None or server_now is None:
        return None
    return _cut(checkpoint, server_now, cadence, start=request.window.start)


def snapshot_due_at(checkpoint: Checkpoint, *, now: datetime, cadence: Cadence) -> datetime:
    """When the next snapshot is due: an interval after the last one's request.

    At once while there was none, where a signal asks for one, and where another scope was asked for: what came into
    the scope may have been updated long ago.
    """
    if not cadence.has_snapshots:
        return _NEVER
    last = checkpoint.snapshot
    if last is None or cadence.always_due or checkpoint.wanted_snapshot is not None or last.scope != cadence.scope:
        return now
    return _interval_after(last.requested_at, cadence.snapshot_interval, now=now)


def window_due_at(checkpoint: Checkpoint, *, now: datetime, cadence: Cadence) -> datetime:
    """When the next window is due: an interval after the last one's request, or after the first snapshot's.

    At once where the last one ended early, and where a signal asks for it; a day later where filters are refused.
    """
    interval = cadence.update_interval
    if not cadence.has_snapshots:
        interval = interval or cadence.snapshot_interval
    elif cadence.always_due:
        return _NEVER
    if covered_to(checkpoint, cadence) is None:
        return _NEVER
    if checkpoint.wanted_window or (cadence.always_due and checkpoint.filters_refused_at is None):
        return now
    if interval is None:
        return _NEVER
    if checkpoint.filters_refused_at is not None:
        return _interval_after(checkpoint.filters_refused_at, FILTERS_AGAIN, now=now)
    last = checkpoint.window or checkpoint.snapshot
    if last is None or last.partial or checkpoint.window_failures:
        return now
    return _interval_after(last.requested_at, interval, now=now)


def covered_to(checkpoint: Checkpoint, cadence: Cadence) -> datetime | None:
    """How far the chain of windows has got; None before it has begun.

    Checkpoints from before there were windows don't say; their last snapshot then began the chain.
    """
    if checkpoint.covered_to is not None:
        return checkpoint.covered_to
    if cadence.has_snapshots and checkpoint.snapshot is not None:
        return checkpoint.snapshot.requested_at
    return cadence.windows.beginning()


def _interval_after(moment: datetime, interval: timedelta, *, now: datetime) -> datetime:
    """``moment`` is of the daemon's own clock, which may have been wrong: what lies too far ahead never happened."""
    return moment + interval if moment <= now + interval else now


def _cut(
    checkpoint: Checkpoint, server_now: datetime, cadence: Cadence, *, start: datetime | None = None
) -> Cut | None:
    chain = covered_to(checkpoint, cadence)
    if chain is None:
        return None
    return cut(cadence.windows, chain, server_now=server_now, start=start, span=checkpoint.window_span)


def _window_due(checkpoint: Checkpoint, found: Cut, server_now: datetime, cadence: Cadence) -> Due:
    return Due(
        ExportKind.WINDOW,
        window=found.window,
        covers_to=found.covers_to,
        partial=found.partial,
        scope=cadence.scope,
        server_time=server_now,
        wanted=checkpoint.wanted_window,
    )


def _snapshot_due(checkpoint: Checkpoint, server_now: datetime | None, cadence: Cadence) -> Due:
    wanted = checkpoint.wanted_snapshot
    return Due(
        ExportKind.SNAPSHOT,
        changes_only=wanted.changes_only if wanted else True,
        scope=cadence.scope,
        server_time=server_now,
        wanted=wanted is not None,
    )


def _known_export(checkpoint: Checkpoint) -> ExportId | None:
    last = checkpoint.window or checkpoint.snapshot
    return last.export_id if last else None


def freshness(checkpoint: Checkpoint) -> datetime | None:
    """Up to when the topic is known to hold everything; None before the first completed export."""
    known = [checkpoint.snapshot.requested_at] if checkpoint.snapshot else []
    if (last := checkpoint.window) and last.window:
        # The day of a ledger's window is not over yet when it is asked for.
        known.append(min(last.window.end, last.requested_at))
    return max(known, default=None)


def blocked_since(checkpoint: Checkpoint) -> datetime | None:
    """Since when another export keeps this stream's own waiting; None where none does."""
    return checkpoint.state.blocked_since if isinstance(checkpoint.state, Requesting) else None
