"""OpenTelemetry spans of what is committed, for whoever has installed the extra ``tracing`` and said where they go.

Without the extra, or without ``OTEL_EXPORTER_OTLP_ENDPOINT`` in the environment, nothing is imported and a commit pays
for one comparison. All settings are those of OpenTelemetry itself (``OTEL_SERVICE_NAME``, and what begins with
``OTEL_EXPORTER_OTLP_``). Spans hold no secret: what goes into them went through the logs' scrubber.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import structlog

from streamer import __version__
from streamer.core.checkpoint import Checkpoint
from streamer.core.spans import FILE, Span, root_id, spans_of, trace_id
from streamer.core.states import Counts
from streamer.logs import scrub
from streamer.model import StreamKey

log = structlog.get_logger()

_WANTED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_SEND_SECONDS = 2

Write = Callable[[Span], None]

_write: Write | None = None
_file_begun: dict[StreamKey, datetime] = {}


def committed(
    stream: StreamKey,
    before: Checkpoint | None,
    after: Checkpoint,
    counts: Counts,
    *,
    topic: str | None,
    seconds: float,
) -> None:
    """A commit has moved a stream from one checkpoint to the next, and took so long."""
    if _write is None:
        return
    ended = datetime.now(UTC)
    begun = ended - timedelta(seconds=seconds)
    file_begun = _file_begun.setdefault(stream, begun)
    spans = spans_of(
        stream, before or Checkpoint(), after, counts, topic=topic, begun=begun, ended=ended, file_begun=file_begun
    )
    for span in spans:
        _write(span)
    if topic is None or any(span.name == FILE for span in spans):
        # The next file is read from now on.
        _file_begun[stream] = ended


def configure_tracing(environ: Mapping[str, str] = os.environ) -> Callable[[], None]:
    """Begin to trace where the environment says so; what is returned sends what is left, and ends it."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(environ.get(name) for name in _WANTED):
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("tracing_not_installed", wanted_by=_WANTED[0], install="pip install 'streamer[tracing]'")
        return lambda: None
    # A collector that is away must not keep the daemon from leaving in time.
    timeout = None if environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else _SEND_SECONDS
    return trace_with(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))


def trace_with(processor: Any) -> Callable[[], None]:
    """Trace into a span processor of OpenTelemetry's SDK; what is returned ends it."""
    global _write
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
    from opentelemetry.sdk.trace import TracerProvider

    ids = _Ids()
    ours = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "streamer"), SERVICE_VERSION: __version__}
    provider = TracerProvider(resource=Resource.create(ours), id_generator=cast(Any, ids), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("streamer", __version__)
    _write = lambda span: _hand_over(span, tracer, ids)  # noqa: E731 (a closure over both, made once)

    def end() -> None:
        global _write
        _write = None
        provider.shutdown()

    return end


def _hand_over(span: Span, tracer: Any, ids: _Ids) -> None:
    from opentelemetry import trace

    parent = trace.SpanContext(
        trace_id(span.export_id), root_id(span.export_id), is_remote=True, trace_flags=trace.TraceFlags(1)
    )
    context = trace.set_span_in_context(trace.INVALID_SPAN if span.is_export else trace.NonRecordingSpan(parent))
    ids.root = span.export_id if span.is_export else None
    kind = trace.SpanKind.PRODUCER if span.name.startswith("commit") else trace.SpanKind.INTERNAL
    made = tracer.start_span(
        span.name, context=context, kind=kind, attributes=span.attributes, start_time=_nanoseconds(span.begun)
    )
    if span.error:
        made.set_status(trace.StatusCode.ERROR, scrub(span.error))
    made.end(_nanoseconds(span.ended))


class _Ids:
    """Ids at random, but for the root of an export: its children in other processes know it beforehand."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        self._random = RandomIdGenerator()
        self.root: Any = None

    def generate_trace_id(self) -> int:
        return trace_id(self.root) if self.root else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        return root_id(self.root) if self.root else self._random.generate_span_id()

    def is_trace_id_random(self) -> bool:
        return False


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000
