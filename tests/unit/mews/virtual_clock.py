"""A clock that only sleeping moves."""

from __future__ import annotations

import asyncio


class VirtualClock:
    """Seconds from anywhere; ``slept`` holds every sleep."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        # A turn of the loop, as any sleep gives one.
        await asyncio.sleep(0)
