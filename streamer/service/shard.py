"""One shard of this replica: its streams, and session after session for them to write through.

The streams' loops run on while sessions come and go. A stream that meets a lost session waits for the next one and
starts again from the checkpoint that was read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from streamer.core.backoff import BackoffPolicy, delay
from streamer.errors import FencedError, KafkaUnavailableError, NotOwnerError
from streamer.model import Shard
from streamer.service.clock import Clock
from streamer.service.session import Session

log = structlog.get_logger()

_AFTER_TROUBLE = BackoffPolicy(base=0.25, ceiling=30.0)
"""Also what keeps two that both believe they own from fencing each other in turns: the wait is random, and grows."""


_CANCEL_AGAIN_SECONDS = 1.0


class ShardStream(Protocol):
    """A stream's loop, or that of several."""

    @property
    def key(self) -> object:
        """What it is called in tracebacks."""

    async def run(self, sessions: Sessions) -> None:
        """Live until the daemon stops; returns then. Cancelled where the shard goes to another replica."""


class Sessions:
    """Where streams get their session from."""

    def __init__(self) -> None:
        self._current: Session | None = None
        self._offered = asyncio.Condition()

    async def offer(self, session: Session) -> None:
        """Hand a new session to whoever waits for one."""
        async with self._offered:
            self._current = session
            self._offered.notify_all()

    async def next(self) -> Session:
        """The session in which something can be written; waits for it."""
        async with self._offered:
            while self._current is None or self._current.lost.is_set():
                await self._offered.wait()
            return self._current


class OwnedShard:
    """Runs the streams of a shard while this replica owns it."""

    def __init__(
        self,
        shard: Shard,
        streams: Sequence[ShardStream],
        *,
        take_over: Callable[[Shard], Awaitable[Session]],
        clock: Clock,
        restarted: Callable[[], None],
    ) -> None:
        self.shard = shard
        self._streams = streams
        self._take_over = take_over
        self._clock = clock
        self._restarted = restarted

    async def run(self) -> None:
        """Until the streams have ended by themselves. Cancel it where the shard is no longer owned."""
        sessions = Sessions()
        keeper = asyncio.create_task(self._keep_session(sessions), name=f"session of shard {self.shard}")
        try:
            async with asyncio.TaskGroup() as group:
                for stream in self._streams:
                    group.create_task(self._live(stream, sessions, keeper), name=f"stream {stream.key}")
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _live(self, stream: ShardStream, sessions: Sessions, keeper: asyncio.Task[None]) -> None:
        """A stream's loop, ended by its own end or by a failure of the keeper, which it would wait for in vain."""
        living = asyncio.ensure_future(stream.run(sessions))
        try:
            await asyncio.wait({living, keeper}, return_when=asyncio.FIRST_COMPLETED)
            if not living.done():
                await keeper
            await living
        finally:
            # Again and again: one that meets a failure in the same instant is lost (``TaskGroup`` before Python 3.13).
            while not living.done():
                living.cancel()
                await asyncio.wait({living}, timeout=_CANCEL_AGAIN_SECONDS)

    async def _keep_session(self, sessions: Sessions) -> None:
        """Take over, wait for trouble, take over again. Ends only by cancellation (or by a defect)."""
        troubles = 0
        while True:
            try:
                session = await self._take_over(self.shard)
            except (NotOwnerError, KafkaUnavailableError) as error:
                log.warning("take_over_failed", shard=self.shard, reason=str(error))
            else:
                log.info("shard_taken_over", shard=self.shard, term=session.term)
                try:
                    await sessions.offer(session)
                    await session.keep()
                finally:
                    await session.close()
                if session.commits:
                    troubles = 0
                fenced = isinstance(session.failure, FencedError)
                log.warning("session_lost", shard=self.shard, fenced=fenced, reason=str(session.failure))
                self._restarted()
            troubles += 1
            await asyncio.sleep(delay(_AFTER_TROUBLE, troubles, random=self._clock.dice))
