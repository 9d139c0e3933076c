"""How an export ends, and what it leaves behind in the checkpoint.

It is complete, has come to nothing, was given up, or its topic is gone. Each way is the step back to idle, with the
event that tells of it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from streamer.core.checkpoint import Checkpoint, Completed, LastError, WantedSnapshot
from streamer.core.erasing import still_sent
from streamer.core.events import Outcome, Writer
from streamer.core.inputs import Abandoned, Ended
from streamer.core.states import Idle, Publishing, Reconciling, Request, Waiting
from streamer.core.windows import span_after_failure, span_after_success
from streamer.model import ExportKind, StreamKey


def after_completion(
    stream: StreamKey,
    checkpoint: Checkpoint,
    done: Publishing | Reconciling,
    *,
    topic: str,
    withheld: int,
    why: str,
    now: datetime,
) -> Outcome:
    """The end of an export, with all that it came to."""
    request, last = done.request, checkpoint.snapshot
    is_snapshot = request.kind is ExportKind.SNAPSHOT
    compared = isinstance(done, Reconciling) or done.share is not None
    completed = Completed(
        export_id=done.export_id,
        requested_at=request.requested_at,
        completed_at=now,
        counts=done.counts,
        window=request.window,
        scope=request.scope,
        tombstones_withheld=withheld,
        withheld_why=why,
        partial=request.partial,
        # Until nothing is left in the topic that only an earlier one reached.
        earlier_scope=topic_scope(last) if last and is_snapshot and (why or not compared) else None,
    )
    if completed.earlier_scope == completed.scope:
        completed = msgspec.structs.replace(completed, earlier_scope=None)
    told = Writer(stream, request, done.export_id, now).export_completed(
        done, topic=topic, withheld=withheld, withheld_why=why
    )
    remembered = _remembered(checkpoint, request, completed)
    return Outcome(checkpoint.moved_to(Idle(), failures=0, error=None, **remembered), (told,))


def topic_scope(last: Completed) -> str:
    """The scope that the topic's entities came from, after this snapshot."""
    return last.scope if last.earlier_scope is None else last.earlier_scope


def _remembered(checkpoint: Checkpoint, request: Request, completed: Completed) -> dict[str, object]:
    """What a completed export leaves in the checkpoint."""
    if request.kind is ExportKind.WINDOW:
        return {
            "window": completed,
            "covered_to": request.covers_to or checkpoint.covered_to,
            "window_span": span_after_success(checkpoint.window_span, partial=request.partial),
            "window_failures": 0,
        }
    # The first snapshot begins the chain of windows; after that only windows move it.
    begins = checkpoint.covered_to or (checkpoint.snapshot.requested_at if checkpoint.snapshot else None)
    return {
        "snapshot": completed,
        "erased": still_sent(checkpoint.erased, request, completed.counts),
        "covered_to": begins or request.server_time or request.requested_at,
        "let_tombstones_through": False,
    }


def after_failure(
    stream: StreamKey, checkpoint: Checkpoint, state: Waiting | Publishing, event: Ended, *, now: datetime
) -> Outcome:
    """The export came to nothing: counted, told, and what was wanted of it goes on being wanted."""
    writer = Writer(stream, state.request, state.export_id, now)
    told = writer.export_expired() if event.expired else writer.export_failed(event.reason)
    request = state.request
    changes = wanted_again(checkpoint, request)
    if request.kind is ExportKind.WINDOW and request.window is not None:
        failures = checkpoint.window_failures + 1
        span = span_after_failure(checkpoint.window_span, checkpoint.covered_to, request.window, failures=failures)
        changes |= {"window_failures": failures, "window_span": span}
    ended = checkpoint.moved_to(
        Idle(not_before=event.not_before, failed=request.kind),
        failures=checkpoint.failures + 1,
        error=LastError(at=now, message=event.reason),
        **changes,
    )
    return Outcome(ended, (told,))


def after_abandonment(
    stream: StreamKey,
    checkpoint: Checkpoint,
    state: Waiting | Publishing | Reconciling,
    event: Abandoned,
    *,
    now: datetime,
) -> Outcome:
    """A person has given the export up: a new one may follow at once."""
    if isinstance(state, Reconciling):
        # All its lines are published, so it is complete; what is left of the tombstones is not wanted.
        left = state.due - state.counts.tombstones
        return after_completion(stream, checkpoint, state, topic=state.topic, withheld=left, why="abandoned", now=now)
    failed = Writer(stream, state.request, state.export_id, now).export_failed(event.reason)
    return Outcome(checkpoint.moved_to(Idle(), error=LastError(at=now, message=event.reason)), (failed,))


def after_loss_of_topic(
    stream: StreamKey, checkpoint: Checkpoint, state: Publishing, topic: str, partition: int, *, now: datetime
) -> Outcome:
    """The topic was deleted and made anew, or has lost its end: all that was published before counts for nothing."""
    reason = f"the topic {topic} ends below what was published to its partition {partition}: it was made anew"
    anew = checkpoint.moved_to(
        Idle(),
        partitions=None,
        ends={},
        snapshot=None,
        window=None,
        covered_to=None,
        failures=checkpoint.failures + 1,
        error=LastError(at=now, message=reason),
    )
    return Outcome(anew, (Writer(stream, state.request, state.export_id, now).export_failed(reason),))


def wanted_again(checkpoint: Checkpoint, request: Request) -> dict[str, object]:
    """What a signal has asked for goes on being wanted when its export comes to nothing."""
    if not request.wanted:
        return {}
    if request.kind is ExportKind.WINDOW:
        return {"wanted_window": True}
    later = checkpoint.wanted_snapshot or WantedSnapshot()
    return {"wanted_snapshot": WantedSnapshot(changes_only=request.changes_only and later.changes_only)}
