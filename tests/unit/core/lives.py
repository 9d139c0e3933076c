"""A stream in each of its states, all that can happen to it, and what follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from streamer.core.checkpoint import Checkpoint, LastError
from streamer.core.inputs import (
    Abandoned,
    Added,
    Adopted,
    Blocked,
    Due,
    Ended,
    Entombed,
    FiltersRefused,
    Input,
    LookedAt,
    Overflowed,
    Published,
    Ready,
    Refused,
    Retried,
    TakenOut,
)
from streamer.core.lifecycle import transition
from streamer.core.states import (
    Counts,
    FileList,
    Idle,
    PartitionCounts,
    Position,
    Publishing,
    Reconciling,
    Request,
    Requesting,
    Retired,
    Retiring,
    State,
    Stopped,
    Waiting,
)
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, StreamKey, Window

REQUESTED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOW = REQUESTED + timedelta(minutes=90)
LATER = NOW + timedelta(hours=1)
STREAM = StreamKey(ConnectionName("alpine"), EntityType.BILL)
E1 = ExportId("e1")
REQUEST = Request(cycle=4, kind=ExportKind.SNAPSHOT, requested_at=REQUESTED)
FILES = FileList(count=2, size=100, digest="d")
FIRST = Position(file=0, name="a.jsonl", size=60)
SECOND = Position(file=1, name="b.jsonl", size=40)
ERROR = LastError(at=REQUESTED, message="earlier")
IDLE = Idle()
REQUESTING = Requesting(request=REQUEST, attempt=2)
BLOCKED = Requesting(request=REQUEST, attempt=2, blocked_since=REQUESTED)
WAITING = Waiting(request=REQUEST, export_id=E1)
PUBLISHING = Publishing(
    request=REQUEST,
    export_id=E1,
    ready_at=REQUESTED,
    files=FILES,
    position=FIRST,
    counts=Counts(size=10, lines=4, records=1, dead_letters=1, blank=2),
    partitions={"1": PartitionCounts(records=1, tombstones=0, start=7, end=8, digest="00000000000000fe")},
)
RECONCILING = Reconciling(
    request=REQUEST,
    export_id=E1,
    ready_at=REQUESTED,
    files=FILES,
    counts=Counts(size=60, lines=9, records=4, dead_letters=2, blank=3, tombstones=1),
    partitions={"1": PartitionCounts(records=1, tombstones=1, start=7, end=9, digest="00000000000000fe")},
    topic="mews.bill",
    due=5,
)
STOPPED = Stopped(reason="no", since=REQUESTED, look_at=NOW, before=WAITING)
RETIRING = Retiring(
    signal=17,
    begun_at=REQUESTED,
    topic="mews.bill",
    partitions={"1": PartitionCounts(records=0, tombstones=3, start=7, end=12, digest="00000000000000fe")},
)
STATES: dict[str, State] = {
    "idle": IDLE,
    "requesting": REQUESTING,
    "waiting": WAITING,
    "publishing": PUBLISHING,
    "reconciling": RECONCILING,
    "stopped": STOPPED,
    "retiring": RETIRING,
    "retired": Retired(at=REQUESTED),
}
BLOCK = Counts(size=50, lines=5, records=3, dead_letters=1, blank=1)
PUBLISHED = Published(
    position=msgspec.structs.replace(FIRST, offset=60, line=9),
    counts=BLOCK,
    partitions={
        1: PartitionCounts(records=2, tombstones=0, start=9, end=11, digest="0000000000000003"),
        11: PartitionCounts(records=1, tombstones=0, start=0, end=1, digest="0000000000000004"),
    },
    topic="mews.bill",
    topic_partitions=12,
)
FILE_ENDED = msgspec.structs.replace(PUBLISHED, position=SECOND, file_ended=True)
LAST = msgspec.structs.replace(PUBLISHED, position=Position(file=2), file_ended=True, last=True)
WINDOW = Window(REQUESTED - timedelta(hours=1), REQUESTED)
WINDOW_REQUEST = Request(
    cycle=4,
    kind=ExportKind.WINDOW,
    requested_at=REQUESTED,
    window=WINDOW,
    covers_to=WINDOW.end,
    server_time=REQUESTED,
    scope="s1",
)
WINDOW_WAITING = Waiting(request=WINDOW_REQUEST, export_id=E1)
WINDOW_PUBLISHING = msgspec.structs.replace(PUBLISHING, request=WINDOW_REQUEST)
INPUTS: dict[str, Input] = {
    "due": Due(ExportKind.SNAPSHOT),
    "retried": Retried(),
    "added": Added(E1),
    "blocked": Blocked("already running"),
    "refused": Refused("401", LATER),
    "ready": Ready(files=FILES, first=FIRST),
    "ended": Ended("broken", not_before=LATER),
    "published": PUBLISHED,
    "entombed": Entombed(
        counts=Counts(tombstones=2),
        partitions={1: PartitionCounts(records=0, tombstones=2, start=12, end=14, digest="0000000000000001")},
    ),
    "overflowed": Overflowed("too many", LATER),
    "looked at": LookedAt(),
    "adopted": Adopted(E1),
    "filters refused": FiltersRefused("Invalid Filters"),
    "abandoned": Abandoned("by a signal"),
    "taken out": TakenOut(signal=41, topic="mews.bill"),
}


def checkpoint_of(state: State, **fields: Any) -> Checkpoint:
    return Checkpoint(**{"term": 3, "owner": "me", "cycle": 4, "failures": 2, "error": ERROR, "state": state, **fields})


def after(state: State, event: Input, **fields: Any) -> tuple[Checkpoint, list[dict[str, Any]]]:
    """The checkpoint that follows, and the bodies of the events as they are published."""
    outcome = transition(STREAM, checkpoint_of(state, **fields), event, now=NOW)
    return outcome.checkpoint, [msgspec.json.decode(event.value()) for event in outcome.events]


def told(event: str, **fields: Any) -> dict[str, Any]:
    return {
        "event": event,
        "connection": "alpine",
        "entity_type": "Bill",
        "export_id": "e1",
        "kind": "snapshot",
        "window": None,
        "at": "2026-03-01T13:30:00Z",
        **fields,
    }
