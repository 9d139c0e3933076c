"""What a stream would do next, in words: for people who want to know before it is done."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

import msgspec

from streamer.core.checkpoint import Checkpoint
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
)
from streamer.core.states import Reconciling, Stopped
from streamer.model import ExportKind, Window


class Planned(msgspec.Struct, frozen=True):
    """One stream's next step: what, of which export, and when; ``at`` is None for now, and where nobody can tell."""

    does: str
    kind: ExportKind | None = None
    window: Window | None = None
    export_id: str | None = None
    at: datetime | None = None


def planned(checkpoint: Checkpoint, *, now: datetime, cadence: Cadence) -> Planned:
    """What ``run`` would do with this stream now; where that is nothing, what it waits for, and until when.

    ``now`` stands for Mews' time too, by which windows really end.
    """
    step = next_step(checkpoint, now=now, server_now=now, cadence=cadence)
    match step:
        case Begin():
            return Planned("asks Mews for an export", kind=step.due.kind, window=step.due.window)
        case Add():
            request = step.state.request
            return Planned("asks Mews again for the export", kind=request.kind, window=request.window)
        case Poll():
            request = step.state.request
            does = "waits for Mews to finish the export"
            return Planned(does, kind=request.kind, window=request.window, export_id=step.state.export_id)
        case Publish():
            request = step.state.request
            if isinstance(step.state, Reconciling):
                does = f"goes on writing {step.state.due - step.state.counts.tombstones} tombstones"
            else:
                does = f"goes on publishing file {step.state.position.file + 1} of {step.state.files.count}"
            return Planned(does, kind=request.kind, window=request.window, export_id=step.state.export_id)
        case AskTime():
            return Planned("asks Mews for the time")
        case AwaitSignal():
            return Planned("is paused until a signal resumes it")
        case LookAgain():
            return Planned("looks again whether it can go on")
        case Sleep():
            return Planned(_idleness(checkpoint), at=step.until)
        case _:
            assert_never(step)


def _idleness(checkpoint: Checkpoint) -> str:
    if isinstance(checkpoint.state, Stopped):
        return "is stopped, and looks again whether it can go on"
    if checkpoint.failures:
        return "waits after a failed export, then asks for a new one"
    return "has nothing to do until the next export is due"
