"""Writes large requests in slices, a turn of the event loop to each; a seam to aiokafka's private parts.

A produce request holds some megabytes. In one go they are joined, copied to the system and, with TLS, encrypted: 4 to
8 ms where nothing disturbs it, ten times as long where memory is slow for a moment (measured), and nobody else gets a
turn. What the socket does not take of a slice holds up the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from streamer.kafka.flat_requests import Unjoined

SLICE_BYTES: Final = 512 * 1024
"""Copied in some 0.3 ms. With half of it, or twice as much, the loop was as punctual and nothing was faster."""


class SlicedWriter:
    """What a connection of aiokafka writes its requests to, in the place of its ``StreamWriter``."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: deque[list[memoryview]] = deque()
        self._writing: asyncio.Task[None] | None = None

    @property
    def transport(self) -> asyncio.WriteTransport:
        """What has the connection."""
        return self._writer.transport

    def write(self, data: bytes | Unjoined) -> None:
        """Write all of it, behind what was written before. Returns at once, and raises nothing for what waits.

        Where the connection breaks, aiokafka learns it from its reader, as it does for what the socket has taken.
        """
        if self._writing is None and len(data) <= SLICE_BYTES:
            self._writer.write(bytes(data))
            return
        self._waiting.extend((data if isinstance(data, Unjoined) else Unjoined([data])).slices(SLICE_BYTES))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_waiting())

    async def drain(self) -> None:
        """Wait until all of it was written, and the socket would take more."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        await self._writer.drain()

    def close(self) -> None:
        """Give up what waits, and close the connection once what was handed over is written."""
        if self._writing is not None:
            self._writing.cancel()
        self._writer.close()

    async def _write_waiting(self) -> None:
        try:
            while self._waiting and not self._writer.is_closing():
                self._writer.writelines(self._waiting.popleft())
                await self._writer.drain()
                # drain() alone lets nobody else run where the socket has taken everything.
                await asyncio.sleep(0)
        except OSError:
            pass  # The connection's reader meets the same, and closes it.
        finally:
            self._waiting.clear()
            self._writing = None
