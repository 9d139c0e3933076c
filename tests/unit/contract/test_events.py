"""Every event that can be written is one that is promised, with no field untold."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import msgspec
from jsonschema import Draft202012Validator

from streamer.contract.events import EVENTS, ExportEvent, example_of, name_of
from streamer.contract.schemas import all_schemas
from streamer.core.events import Event, Writer, retired_event, signal_event
from streamer.core.states import Counts, FileList, PartitionCounts, Position, Publishing, Request, Retiring
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, StreamKey, Window
from tests.unit.cases import cases

schemas = cache(all_schemas)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
REQUEST = Request(cycle=7, kind=ExportKind.WINDOW, requested_at=NOW, window=Window(NOW, NOW))
WRITER = Writer(StreamKey(ConnectionName("alpine"), EntityType.BILL), REQUEST, ExportId("e1"), NOW)
DONE = Publishing(
    request=REQUEST,
    export_id=ExportId("e1"),
    ready_at=NOW,
    files=FileList(count=2, size=999, digest="d"),
    position=Position(file=2),
    counts=Counts(size=998, lines=10, records=6, unchanged=1, dead_letters=2, blank=1),
    partitions={"9": PartitionCounts(records=4, tombstones=0, start=0, end=4, digest="0000000000000001")},
)
WRITTEN = (
    WRITER.export_requested(),
    msgspec.structs.replace(WRITER, export_id=None).export_blocked("because"),
    WRITER.export_ready(2, 99),
    WRITER.file_published(file=0, name="a", size=9),
    WRITER.export_completed(DONE, topic="t"),
    WRITER.export_failed("because"),
    WRITER.export_expired(),
    signal_event(WRITER.stream, "pause", offset=3, key="*", reason=None, now=NOW),
    signal_event(WRITER.stream, None, offset=4, key="*", reason="because", now=NOW),
    retired_event(WRITER.stream, Retiring(signal=5, begun_at=NOW, topic="t", partitions=DONE.partitions), now=NOW),
)


def validator(event: type[ExportEvent]) -> Draft202012Validator:
    return Draft202012Validator(schemas()[name_of(event).replace("_", "-")])


@cases(("event", "written"), list(zip(EVENTS, WRITTEN, strict=True)))
def test_events_are_as_promised(event: type[ExportEvent], written: Event) -> None:
    body = msgspec.json.decode(written.value())
    assert written.name == name_of(event)
    assert body.keys() - {"event"} <= {field.encode_name for field in msgspec.structs.fields(event)}
    msgspec.json.decode(written.value(), type=event)
    validator(event).validate(body)


@cases("event", EVENTS)
def test_examples_are_as_promised(event: type[ExportEvent]) -> None:
    validator(event).validate(example_of(event))
    msgspec.convert(example_of(event), event)
