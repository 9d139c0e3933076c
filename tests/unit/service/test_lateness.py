"""How late the event loop is, as its metrics tell it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from streamer.metrics import Metrics
from streamer.service.lateness import STEP_SECONDS, WINDOW_SECONDS, watch_loop


async def test_the_worst_step_of_the_last_two_windows_is_told_and_then_forgotten() -> None:
    metrics = Metrics()
    now = 0.0
    blocked = {300: 0.06, 301: 0.02}
    shown: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        (gauge,) = metrics.loop_delay.collect()
        shown.append(gauge.samples[0].value)
        if now > 3 * WINDOW_SECONDS:
            raise asyncio.CancelledError
        now += seconds + blocked.get(len(shown), 0.0)

    with contextlib.suppress(asyncio.CancelledError):
        await watch_loop(metrics, monotonic=lambda: now, sleep=sleep)
    in_window = round(WINDOW_SECONDS / STEP_SECONDS)
    assert shown[299] == pytest.approx(0)
    assert shown[300:in_window:100] == pytest.approx([0.06] * 7)
    assert shown[2 * in_window - 20] == pytest.approx(0.06)
    assert shown[-1] == pytest.approx(0)
    counts = {
        bound: metrics.registry.get_sample_value("streamer_loop_lateness_seconds_bucket", {"le": bound})
        for bound in ("0.005", "0.03", "0.05", "0.075", "+Inf")
    }
    steps = len(shown) - 1
    assert counts == {"0.005": steps - 2, "0.03": steps - 1, "0.05": steps - 1, "0.075": steps, "+Inf": steps}
