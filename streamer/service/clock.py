"""Time and chance, handed to whoever needs them, and waiting that a drain cuts short."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

R = TypeVar("R")

_PATIENCE_SECONDS = 3.0
"""How long what is given up because of a drain may take to end: closing a connection that hangs."""


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

    async def unless_stopping(self, work: Awaitable[R]) -> R | None:
        """What the work comes to, or None where the daemon is to stop first: it is cancelled then."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait({working}, timeout=_PATIENCE_SECONDS)

    async def rest(self, seconds: float) -> None:
        """Wait that long, or until the daemon is to stop."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self.stopping.wait()
        except TimeoutError:
            return
