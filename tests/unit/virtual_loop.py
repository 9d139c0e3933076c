"""An event loop in virtual time: where nothing is to be done now, the clock moves on to the next thing there is.

It has no selector and no self-pipe, so it can wait for nothing from outside: no socket, no thread, no process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

RESOLUTION = 1e-6
"""Seconds. What is due within it is due now: sums of floats miss a moment by less."""


class NothingToWaitForError(AssertionError):
    """Everything waits for something that can never happen: a deadlock, or something outside of the loop."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Its time begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        # What ``BaseEventLoop`` asks of those who complete it.
        self._selector = self
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> Sequence[object]:
        """What a selector does while it waits; ``timeout`` is the time until the next timer."""
        if timeout is None:
            raise NothingToWaitForError("nothing is scheduled, and nothing can come from outside")
        self._now += timeout
        return ()

    def _write_to_self(self) -> None:
        """Nothing sleeps that would have to be woken."""

    def _process_events(self, events: Sequence[object]) -> None:
        """There never are any."""
