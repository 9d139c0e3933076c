"""What a stream does next, decided from its checkpoint and the time alone.

Each step is a value that the stream's loop carries out; nothing here waits or calls anybody.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from streamer.core.checkpoint import Checkpoint, Idle, Publishing, Requesting, Stopped, Waiting
from streamer.core.lifecycle import Due
from streamer.model import ExportKind


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
    """Go on publishing the export's files."""

    state: Publishing


class LookAgain(msgspec.Struct, frozen=True):
    """A stopped stream's time has come to try again where it was."""


Step = Sleep | Begin | Add | Poll | Publish | LookAgain


class Cadence(msgspec.Struct, frozen=True):
    """How often exports are asked for, on the daemon's own clock; with ``always_due``, whenever none is under way."""

    snapshot_interval: timedelta
    always_due: bool = False


def next_step(checkpoint: Checkpoint, *, now: datetime, cadence: Cadence) -> Step:
    """The one thing to do now."""
    state = checkpoint.state
    match state:
        case Idle():
            due_at = snapshot_due_at(checkpoint, now=now, cadence=cadence)
            if state.not_before is not None:
                due_at = max(due_at, state.not_before)
            return Begin(Due(ExportKind.SNAPSHOT)) if due_at <= now else Sleep(due_at)
        case Requesting():
            return Add(state)
        case Waiting():
            return Poll(state)
        case Publishing():
            return Publish(state)
        case Stopped():
            return LookAgain() if state.look_at <= now else Sleep(state.look_at)
        case _:
            assert_never(state)


def snapshot_due_at(checkpoint: Checkpoint, *, now: datetime, cadence: Cadence) -> datetime:
    """When the next snapshot is due: at once while there was none, then an interval after the last one's request."""
    if checkpoint.snapshot is None or cadence.always_due:
        return now
    return checkpoint.snapshot.requested_at + cadence.snapshot_interval


def freshness(checkpoint: Checkpoint) -> datetime | None:
    """Up to when the topic is known to hold everything; None before the first completed export."""
    known = [
        *([checkpoint.snapshot.requested_at] if checkpoint.snapshot else []),
        *([checkpoint.window.window.end] if checkpoint.window and checkpoint.window.window else []),
    ]
    return max(known, default=None)


def blocked_since(checkpoint: Checkpoint) -> datetime | None:
    """Since when another export keeps this stream's own waiting; None where none does."""
    return checkpoint.state.blocked_since if isinstance(checkpoint.state, Requesting) else None
