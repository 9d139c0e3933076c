"""Events say what consumers are promised, and are named once and for all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from streamer.core.events import Event, Writer
from streamer.core.states import Counts, FileList, PartitionCounts, Position, Publishing, Request
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, StreamKey, Window

REQUESTED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
READY = REQUESTED + timedelta(minutes=20)
NOW = REQUESTED + timedelta(hours=1, milliseconds=1500)
STREAM = StreamKey(ConnectionName("alpine"), EntityType.ORDER_ITEM)
REQUEST = Request(cycle=7, kind=ExportKind.SNAPSHOT, requested_at=REQUESTED)
WINDOW = Request(
    cycle=8,
    kind=ExportKind.WINDOW,
    requested_at=REQUESTED,
    window=Window(REQUESTED - timedelta(hours=1), REQUESTED),
)
DONE = Publishing(
    request=REQUEST,
    export_id=ExportId("e1"),
    ready_at=READY,
    files=FileList(count=2, size=999, digest="d"),
    position=Position(file=2),
    counts=Counts(size=998, lines=10, records=6, unchanged=1, dead_letters=2, blank=1, tombstones=0),
    partitions={
        "10": PartitionCounts(records=2, tombstones=0, start=5, end=9, digest="00000000000000ff"),
        "9": PartitionCounts(records=4, tombstones=0, start=0, end=4, digest="0000000000000001"),
    },
)


def writer(request: Request = REQUEST, export_id: str | None = "e1") -> Writer:
    return Writer(STREAM, request, None if export_id is None else ExportId(export_id), NOW)


def published(event: Event) -> dict[str, Any]:
    return msgspec.json.decode(event.value(), type=dict[str, Any])


def common(event: str) -> dict[str, Any]:
    return {
        "event": event,
        "connection": "alpine",
        "entity_type": "OrderItem",
        "export_id": "e1",
        "kind": "snapshot",
        "window": None,
        "at": "2026-03-01T13:00:01.500000Z",
    }


def test_every_event_begins_with_what_it_is_about() -> None:
    requested = writer().export_requested()
    assert published(requested) == common("export_requested")
    assert list(published(requested))[:7] == list(common(""))


def test_the_export_of_a_window_says_which() -> None:
    told = published(writer(WINDOW).export_requested())
    assert told["kind"] == "window"
    assert told["window"] == {"start": "2026-03-01T11:00:00Z", "end": "2026-03-01T12:00:00Z"}


def test_a_blocked_request_has_no_export_yet_and_a_reason() -> None:
    blocked = writer(export_id=None).export_blocked("already running")
    assert published(blocked) == {**common("export_blocked"), "export_id": None, "reason": "already running"}


def test_a_ready_export_tells_its_files_and_bytes() -> None:
    assert published(writer().export_ready(2, 999)) == {**common("export_ready"), "files": 2, "bytes": 999}


def test_a_published_file_tells_its_place_name_and_size() -> None:
    told = writer().file_published(file=1, name="b.jsonl", size=30)
    assert published(told) == {**common("file_published"), "file": 1, "name": "b.jsonl", "bytes": 30}


def test_failed_and_expired_exports_are_told_apart() -> None:
    assert published(writer().export_failed("broken")) == {**common("export_failed"), "reason": "broken"}
    assert published(writer().export_expired()) == common("export_expired")


def test_a_completed_export_accounts_for_everything() -> None:
    told = published(writer().export_completed(DONE, topic="mews.order-item", withheld=7, withheld_why="too_many"))
    assert told == {
        **common("export_completed"),
        "topic": "mews.order-item",
        "files": 2,
        "bytes": 998,
        "lines": 10,
        "records": 6,
        "unchanged": 1,
        "dead_letters": 2,
        "blank": 1,
        "erased": 0,
        "tombstones": 0,
        "tombstones_withheld": 7,
        "tombstones_withheld_why": "too_many",
        "requested_at": "2026-03-01T12:00:00Z",
        "ready_at": "2026-03-01T12:20:00Z",
        "seconds": 3601.5,
        "partitions": {
            "9": {"records": 4, "tombstones": 0, "start": 0, "end": 4, "digest": "0000000000000001"},
            "10": {"records": 2, "tombstones": 0, "start": 5, "end": 9, "digest": "00000000000000ff"},
        },
    }
    assert list(told["partitions"]) == ["9", "10"]


def test_names_are_the_exports_or_the_cycles_and_no_two_events_share_one() -> None:
    named, blocked = writer(), writer(export_id=None)
    events = [
        named.export_requested(),
        named.export_ready(1, 1),
        named.file_published(file=0, name="same", size=1),
        named.file_published(file=1, name="same", size=1),
        named.export_failed("x"),
        named.export_expired(),
        named.export_completed(DONE, topic="t"),
        blocked.export_blocked("x"),
        writer(WINDOW, export_id=None).export_blocked("x"),
    ]
    assert [event.ce_id for event in events] == [
        "e1/export_requested",
        "e1/export_ready",
        "e1/file_published/0",
        "e1/file_published/1",
        "e1/export_failed",
        "e1/export_expired",
        "e1/export_completed",
        "alpine/OrderItem/7/export_blocked",
        "alpine/OrderItem/8/export_blocked",
    ]
    assert [event.name for event in events[:2]] == ["export_requested", "export_ready"]
