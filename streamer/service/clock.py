"""Time and chance, handed to whoever needs them, and waiting that a drain cuts short."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The wall clock, aware, in UTC."""
    return datetime.now(UTC)


class Clock:
    """The daemon's clocks, its dice, and the wish to stop.

    ``stopping`` is set once, when the daemon is to drain: whoever waits, waits through ``rest``, which it ends.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.now = now
        self.monotonic = monotonic
        self.dice = dice
        self.stopping = asyncio.Event()

    def milliseconds(self) -> int:
        """The wall clock as Kafka wants it: whole milliseconds since 1970."""
        return int(self.now().timestamp() * 1000)

    async def rest(self, seconds: float) -> None:
        """Wait that long, or until the daemon is to stop."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self.stopping.wait()
        except TimeoutError:
            return

    async def rest_until(self, moment: datetime) -> None:
        """Wait until the wall clock says ``moment``, or until the daemon is to stop."""
        await self.rest((moment - self.now()).total_seconds())
