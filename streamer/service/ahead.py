"""What is gathered while something else is being done: chunks that are waited for, and one item made ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


class Ends:
    """What ends publishing early: the daemon stops, the session is lost, or a signal wants the stream elsewhere."""

    def __init__(self, *events: asyncio.Event) -> None:
        self.events = events

    def any_set(self) -> bool:
        """Whether it is to end now."""
        return any(event.is_set() for event in self.events)


class _End:
    """Nothing more will come."""


END = _End()


class Chunks:
    """Chunks of a download that can be waited for with a limit, without cancelling the read (which would end it).

    ``ends`` are events after which nobody wants any more of them.
    """

    def __init__(self, source: AsyncIterator[bytes], *ends: asyncio.Event) -> None:
        self._source = source
        self._reading: asyncio.Task[bytes | _End] | None = None
        self._ends = [asyncio.create_task(end.wait()) for end in ends]

    async def __aenter__(self) -> Chunks:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._ends, *([self._reading] if self._reading else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def next(self, *, within: float | None) -> bytes | _End | None:
        """The next chunk, ``END``, or None after ``within`` seconds or as soon as one of ``ends`` is set."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        limit = None if within is None else max(0.0, within)
        await asyncio.wait({self._reading, *self._ends}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return None
        chunk = self._reading.result()
        self._reading = None
        return chunk

    async def _read(self) -> bytes | _End:
        return await anext(self._source, END)


async def one_ahead(blocks: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items, with the next one already being made while the caller works on the last."""

    async def upcoming() -> T | _End:
        return await anext(blocks, END)

    task = asyncio.create_task(upcoming())
    try:
        while not isinstance(item := await task, _End):
            task = asyncio.create_task(upcoming())
            yield item
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await blocks.aclose()
