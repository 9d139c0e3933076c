"""What is gathered while something else is being done: chunks that are waited for, and one item made ahead."""

from __future__ import annotations

import asyncio
import contextlib
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

    ``ends`` are events after which nobody wants any more of them. One task reads them all, one ahead: a task for each
    would cost as much as what the kernel does with it.
    """

    def __init__(self, source: AsyncIterator[bytes], *ends: asyncio.Event) -> None:
        self._source = source
        self._ready: bytes | _End | None = None
        self._changed = asyncio.Event()
        """Set when there is something to look at: a chunk, an end, an error."""
        self._room = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self._ends = [asyncio.create_task(self._watch(end)) for end in ends]

    async def __aenter__(self) -> Chunks:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._ends, self._reading]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def next(self, *, within: float | None) -> bytes | _End | None:
        """The next chunk, ``END``, or None after ``within`` seconds or as soon as one of ``ends`` is set."""
        if self._ready is None and not self._reading.done():
            self._changed.clear()
            if not any(end.done() for end in self._ends):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if within is None else max(0.0, within)):
                        await self._changed.wait()
        chunk, self._ready = self._ready, None
        self._room.set()
        if chunk is None and self._reading.done():
            self._reading.result()
        return chunk

    async def _read(self) -> None:
        try:
            async for chunk in self._source:
                self._room.clear()
                self._ready = chunk
                self._changed.set()
                await self._room.wait()
            self._ready = END
        finally:
            self._changed.set()

    async def _watch(self, end: asyncio.Event) -> None:
        await end.wait()
        self._changed.set()


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
