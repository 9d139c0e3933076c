"""A page over rows that are made up: without Kafka, for what the page alone decides."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from streamer.metrics import Metrics
from streamer.service.page import StatusPage
from streamer.service.probes import Probes

Row = dict[str, Any]


def completed(minutes: int, **more: object) -> Row:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    counts = {"bytes": 12_300_000, "lines": 9_100, "records": 8_000, "unchanged": 0, "dead_letters": 0, "tombstones": 0}
    return {"export_id": "e0", "window": None, "requested_at": at, "completed_at": at, **counts, **more}


def row(kind: str, phase: str, owner: str, *, minutes: int | None, **more: object) -> Row:
    at = None if minutes is None else datetime.now(UTC) - timedelta(minutes=minutes)
    return {
        "stream": f"alpine/{kind}",
        "connection": "alpine",
        "entity_type": kind,
        "phase": phase,
        "owner": f"{owner}/7/abc/1",
        "fresh_until": at,
        "error": None,
        "error_at": None,
        "export": None,
        "last_snapshot": None if minutes is None else completed(minutes),
        "last_window": None,
        "here": owner == "host-1",
        **more,
    }


PUBLISHING = {
    "kind": "snapshot",
    "window": None,
    "requested_at": datetime.now(UTC),
    "export_id": "e1",
    "files": 8,
    "file": 2,
    "bytes": 3_400_000,
    "bytes_total": 12_300_000,
    "lines": 100,
    "records": 100,
    "dead_letters": 0,
}
REFUSED = "Mews says <img src=x onerror=alert(1)> and a-word-that-is-far-too-long-" + "for-a-phone-" * 12
ROWS = [
    row("Bill", "publishing", "host-2", minutes=12, export=PUBLISHING),
    row("Customer", "stopped", "host-1", minutes=3, error=REFUSED, error_at=datetime.now(UTC)),
    row("Payment", "idle", "host-1", minutes=None),
]


@asynccontextmanager
async def shown(rows: Sequence[Row], *, ready: bool = True) -> AsyncIterator[str]:
    """The address of a page that shows the rows."""
    page = StatusPage(
        rows=lambda: list(rows), ready=lambda: ready, replica="host-1/7/abc", prefix="mews", clock=time.monotonic
    )
    probes = Probes(metrics=Metrics(), ready=lambda: True, page=page)
    await probes.start("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{probes.port}"
    finally:
        await probes.stop()


COLOURS = """() => {
  const style = getComputedStyle(document.body);
  return [style.backgroundColor, style.color].map((colour) => colour.match(/\\d+/g).map(Number));
}"""
"""Of ground and ink."""

CUT_OFF = """() => [...document.querySelectorAll("main *, header *")].filter((element) =>
  element.children.length === 0 && element.textContent.trim() && element.getClientRects().length &&
  !["SELECT", "OPTION"].includes(element.tagName) &&
  (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline"
    || parseFloat(getComputedStyle(element).fontSize) < 12
    || element.getBoundingClientRect().right > innerWidth)
).map((element) => element.outerHTML)"""
"""Elements whose text is wider than they are, reaches beyond the window or is too small."""


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """The contrast ratio of WCAG 2, of two colours as red, green, blue up to 255."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Sequence[float]) -> float:
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
