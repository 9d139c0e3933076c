"""Keeps the calls of one token below Mews' limit, and holds all of them back after a 429.

Mews allows 200 requests per access token within 30 seconds, and may block those who keep running into that
(guidelines/environments, best-practices). Counted here is the moment a call leaves, not when it arrives: the
distance to 200 is there for calls that bunch up on their way, and for other programs with the same token.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from streamer.core.backoff import BackoffPolicy, delay
from streamer.errors import NotAskedError

REQUESTS = 150
WINDOW_SECONDS = 30.0

_BACKOFF = BackoffPolicy(base=2.0, ceiling=60.0)
_SHORTEST_SLEEP_SECONDS = 0.001


class RequestLimit:
    """At most ``requests`` calls in any ``window`` seconds, first come, first served; one of these per access
    token.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        random: Callable[[], float],
        requests: int = REQUESTS,
        window: float = WINDOW_SECONDS,
    ) -> None:
        """``clock`` in seconds from anywhere, never going back; ``random`` in ``[0, 1)``."""
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._requests = requests
        self._window = window
        self._turn = asyncio.Lock()
        self._left: deque[float] = deque()
        self._held_until = float("-inf")
        self._refusals = 0

    async def admit(self, *, within: float | None = None) -> None:
        """Return when the next call may leave.

        ``within``: for a call that must leave in so many seconds or not at all. Raises ``NotAskedError``,
        with the wait as ``retry_after``, as soon as that can't be.
        """
        latest = float("inf") if within is None else self._clock() + within
        async with self._turn:
            while (wait := self._free_at() - self._clock()) > 0:
                if self._clock() + wait > latest:
                    raise NotAskedError("held back to stay within Mews' request limit", retry_after=wait)
                await self._sleep(max(wait, _SHORTEST_SLEEP_SECONDS))
            if self._clock() > latest:
                raise NotAskedError("held back too long behind other calls of the token", retry_after=0.0)
            self._left.append(self._clock())

    def refused(self, retry_after: float | None) -> float:
        """Mews answered 429: no call of the token leaves for the seconds returned.

        At least ``retry_after`` of them where Mews gave it; more with each refusal since the last success, of
        which those of calls that were on their way together count as one.
        """
        now = self._clock()
        if now >= self._held_until:
            self._refusals += 1
        wait = delay(_BACKOFF, self._refusals, random=self._random, retry_after=retry_after)
        self._held_until = max(self._held_until, now + wait)
        return wait

    def accepted(self) -> None:
        """Mews answered a call with anything but 429."""
        self._refusals = 0

    def _free_at(self) -> float:
        while self._left and self._left[0] + self._window <= self._clock():
            self._left.popleft()
        full_until = self._left[0] + self._window if len(self._left) >= self._requests else float("-inf")
        return max(full_until, self._held_until)
