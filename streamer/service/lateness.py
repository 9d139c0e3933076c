"""How late the event loop runs what is due: the one number that tells of anything that blocks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from streamer.metrics import Metrics

STEP_SECONDS = 0.01
"""What blocks the loop for longer than this is seen, whenever it happens."""

WINDOW_SECONDS = 10.0


async def watch_loop(
    metrics: Metrics, *, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[object]]
) -> None:
    """Measure for ever: each step's lateness for the histogram, and for the gauge the worst of the last two windows.

    The gauge shows what the loop was like between two looks at it, since each is some windows after the last; and what
    was is forgotten.
    """
    last_window = worst = 0.0
    window_ends = monotonic() + WINDOW_SECONDS
    while True:
        due = monotonic() + STEP_SECONDS
        await sleep(STEP_SECONDS)
        now = monotonic()
        late = max(0.0, now - due)
        metrics.loop_lateness.observe(late)
        if now >= window_ends:
            last_window, worst, window_ends = worst, 0.0, now + WINDOW_SECONDS
        worst = max(worst, late)
        metrics.loop_delay.set(max(last_window, worst))
