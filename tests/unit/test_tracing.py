"""Spans of exports, files and transactions, as OpenTelemetry's own SDK has them in the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from streamer import tracing
from streamer.core.checkpoint import Checkpoint, Completed, LastError
from streamer.core.states import Counts, FileList, Idle, Position, Publishing, Request, Waiting
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, StreamKey

BILLS = StreamKey(ConnectionName("alpine"), EntityType.BILL)
EXPORT = ExportId("6a3c5f2e-0000-4000-8000-000000000001")
AT = datetime.now(UTC) - timedelta(minutes=5)
REQUEST = Request(cycle=1, kind=ExportKind.SNAPSHOT, requested_at=AT)
BLOCK = Counts(size=500, lines=10, records=10)


@pytest.fixture
def finished() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    end = tracing.trace_with(SimpleSpanProcessor(exporter))
    yield exporter
    end()


def publishing(file: int) -> Checkpoint:
    files = FileList(count=2, size=1_000, digest="d")
    position = Position(file=file, name="f", size=500) if file < 2 else Position(file=2)
    return Checkpoint(state=Publishing(request=REQUEST, export_id=EXPORT, ready_at=AT, files=files, position=position))


WAITING = Checkpoint(state=Waiting(request=REQUEST, export_id=EXPORT))
DONE = Checkpoint(
    snapshot=Completed(export_id=EXPORT, requested_at=AT, completed_at=AT, counts=Counts(size=1_000, records=20))
)
FAILED = Checkpoint(state=Idle(), error=LastError(at=AT, message="at https://host.example/file?sig=canary it broke"))


def commit(before: Checkpoint | None, after: Checkpoint, *, topic: str | None = "mews.bill") -> None:
    tracing.committed(BILLS, before, after, BLOCK if topic else Counts(), topic=topic, seconds=0.25)


def about(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_an_export_is_a_trace_with_its_files_and_transactions(finished: InMemorySpanExporter) -> None:
    for before, after in ((None, WAITING), (WAITING, publishing(0))):
        commit(before, after, topic=None)
    for before, after in ((publishing(0), publishing(1)), (publishing(1), DONE)):
        commit(before, after)
    spans = finished.get_finished_spans()
    assert [span.name for span in spans] == [
        "commit mews.bill", "publish file", "commit mews.bill", "publish file", "export Bill",
    ]  # fmt: skip
    *children, root = spans
    assert root.parent is None
    assert root.context is not None
    assert f"{root.context.trace_id:032x}" == EXPORT.replace("-", "")
    for child in children:
        assert child.parent is not None
        assert child.parent.span_id == root.context.span_id
        assert child.context is not None
        assert child.context.trace_id == root.context.trace_id
    assert root.start_time == int(AT.timestamp() * 1_000_000) * 1_000
    assert about(root)["mews.export.records"] == 20
    assert [about(span)["mews.file.index"] for span in spans if span.name == "publish file"] == [0, 1]
    assert about(spans[0])["messaging.batch.message_count"] == 10
    assert spans[0].start_time is not None
    assert spans[0].end_time is not None
    assert spans[0].end_time - spans[0].start_time == pytest.approx(0.25e9, rel=1e-3)


def test_an_export_that_comes_to_nothing_ends_in_an_error_without_secrets(finished: InMemorySpanExporter) -> None:
    commit(publishing(1), FAILED, topic=None)
    (span,) = finished.get_finished_spans()
    assert (span.name, span.status.status_code) == ("export Bill", StatusCode.ERROR)
    assert "canary" not in str(span.status.description)


def test_without_a_word_in_the_environment_nothing_is_traced_or_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    tracing.configure_tracing({})()
    tracing.configure_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"})()
    # Asked for, but not installed: a warning, and no harm.
    tracing.configure_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})()
    commit(publishing(1), DONE)
