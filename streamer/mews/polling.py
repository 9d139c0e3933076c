"""Makes one ``getAll`` of what the streams of a connection ask for at about the same time.

A link is good for ten minutes from the answer that brought it. So a question never joins a call that has
already left: it goes with the next one, and what it gets is younger than itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from streamer.model import Export, ExportId

GATHER_SECONDS = 0.1
"""How long the first question of a round waits for others: nothing beside a poll interval of minutes."""


class Exports(Protocol):
    """Where exports are asked for."""

    async def get_all(self, ids: Sequence[ExportId]) -> Mapping[ExportId, Export]:
        """What is known of ``ids``; those unknown are absent from the answer. Raises a ``StreamerError``."""


class ExportPolls:
    """The questions of all streams of one connection; ``close`` it in the end."""

    def __init__(
        self,
        exports: Exports,
        *,
        sleep: Callable[[float], Awaitable[object]],
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._exports = exports
        self._sleep = sleep
        self._gather_seconds = gather_seconds
        self._waiting: list[tuple[ExportId, asyncio.Future[Export | None]]] = []
        self._rounds: asyncio.Task[None] | None = None

    async def fetch(self, export_id: ExportId) -> Export | None:
        """The export as Mews sees it now, with fresh links; ``None`` where Mews doesn't know it.

        Whatever ``get_all`` raises reaches everybody who took part in that round. Whoever stops waiting takes
        nothing from the others.
        """
        answer: asyncio.Future[Export | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((export_id, answer))
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.create_task(self._ask(), name="export polls")
        return await answer

    async def close(self) -> None:
        """End the call in flight; whoever still waits is cancelled."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)

    async def _ask(self) -> None:
        asking: list[tuple[ExportId, asyncio.Future[Export | None]]] = []
        try:
            while self._waiting:
                await self._sleep(self._gather_seconds)
                asking, self._waiting = [(i, a) for i, a in self._waiting if not a.done()], []
                if asking:
                    await self._answer(asking)
        finally:
            for _, answer in asking + self._waiting:
                answer.cancel()
            self._waiting = []

    async def _answer(self, asking: Sequence[tuple[ExportId, asyncio.Future[Export | None]]]) -> None:
        try:
            found = await self._exports.get_all(list(dict.fromkeys(i for i, _ in asking)))
        except Exception as error:
            # Nothing is swallowed: it belongs to those who asked, so that is where it is raised.
            for _, answer in asking:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for export_id, answer in asking:
                if not answer.done():
                    answer.set_result(found.get(export_id))


def next_poll(now: float, interval: float) -> float:
    """The first time after ``now`` that is a whole number of ``interval``; both in seconds of one clock.

    Streams with the same interval poll at the same moments, so that ``ExportPolls`` can ask for all in one call.
    """
    if interval <= 0:
        raise ValueError("a poll interval must be positive")
    turn = math.floor(now / interval) + 1
    at = turn * interval
    # Division and multiplication round apart for large clocks and odd intervals.
    return at if at > now else (turn + 1) * interval
