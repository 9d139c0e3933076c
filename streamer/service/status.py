"""What is said of each stream on ``/api/streams``: made of the checkpoint topic, so it covers every replica."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from streamer.core.checkpoint import Checkpoint, Completed
from streamer.core.schedule import freshness
from streamer.core.states import Publishing, Reconciling, Requesting, Stopped, Waiting
from streamer.kafka.checkpoints import Entry
from streamer.logs import scrub
from streamer.model import StreamKey


def stream_rows(streams: Iterable[StreamKey], entries: Mapping[str, Entry], *, now: datetime) -> list[dict[str, Any]]:
    """One row for each stream that is configured or has a checkpoint, by key."""
    keys = sorted({*(str(key) for key in streams), *entries})
    return [_row(key, entries.get(key), now=now) for key in keys]


def _row(key: str, entry: Entry | None, *, now: datetime) -> dict[str, Any]:
    connection, _, entity_type = key.partition("/")
    checkpoint = entry.checkpoint if entry else Checkpoint()
    row: dict[str, Any] = {"stream": key, "connection": connection, "entity_type": entity_type}
    if checkpoint is None:
        return {**row, "phase": "unreadable", "error": entry.problem if entry else ""}
    fresh = freshness(checkpoint)
    return {
        **row,
        "phase": checkpoint.phase,
        "owner": checkpoint.owner,
        "term": checkpoint.term,
        "cycle": checkpoint.cycle,
        "paused": checkpoint.paused,
        "fresh_until": fresh,
        "lag_seconds": round((now - fresh).total_seconds(), 1) if fresh else None,
        "failures": checkpoint.failures,
        "error": scrub(checkpoint.error.message) if checkpoint.error else None,
        "error_at": checkpoint.error.at if checkpoint.error else None,
        "look_at": checkpoint.state.look_at if isinstance(checkpoint.state, Stopped) else None,
        "export": _export(checkpoint),
        "last_snapshot": _completed(checkpoint.snapshot),
        "last_window": _completed(checkpoint.window),
        "covered_to": checkpoint.covered_to,
        "window_failures": checkpoint.window_failures,
        "filters_refused_at": checkpoint.filters_refused_at,
        "wanted": _wanted(checkpoint),
        "kept_out": len(checkpoint.erased),
    }


def _wanted(checkpoint: Checkpoint) -> list[str]:
    """What signals have asked for and has not begun yet."""
    return [
        *(["window"] if checkpoint.wanted_window else []),
        *(["snapshot"] if checkpoint.wanted_snapshot else []),
        *(["tombstones"] if checkpoint.let_tombstones_through else []),
    ]


def _export(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The export under way, as far as the stream has got with it."""
    state = checkpoint.state
    if isinstance(state, Stopped):
        state = state.before
    if not isinstance(state, Requesting | Waiting | Publishing | Reconciling):
        return None
    export: dict[str, Any] = {
        "kind": state.request.kind,
        "window": state.request.window,
        "requested_at": state.request.requested_at,
    }
    if isinstance(state, Requesting):
        return {**export, "attempt": state.attempt, "blocked_since": state.blocked_since}
    export["export_id"] = state.export_id
    if isinstance(state, Publishing | Reconciling):
        export |= {
            "ready_at": state.ready_at,
            "files": state.files.count,
            "file": state.position.file if isinstance(state, Publishing) else state.files.count,
            "bytes": state.counts.size,
            "bytes_total": state.files.size,
            "lines": state.counts.lines,
            "records": state.counts.records,
            "unchanged": state.counts.unchanged,
            "dead_letters": state.counts.dead_letters,
            "erased": state.counts.erased,
            "tombstones": state.counts.tombstones,
        }
    if isinstance(state, Reconciling):
        export["tombstones_due"] = state.due
    return export


def _completed(completed: Completed | None) -> dict[str, Any] | None:
    if completed is None:
        return None
    counts = completed.counts
    return {
        "export_id": completed.export_id,
        "window": completed.window,
        "requested_at": completed.requested_at,
        "completed_at": completed.completed_at,
        "bytes": counts.size,
        "lines": counts.lines,
        "records": counts.records,
        "unchanged": counts.unchanged,
        "dead_letters": counts.dead_letters,
        "blank": counts.blank,
        "erased": counts.erased,
        "tombstones": counts.tombstones,
        "tombstones_withheld": completed.tombstones_withheld,
        "withheld_why": completed.withheld_why,
    }
