"""``Files`` in memory: a file host that breaks where it is told to, held to one suite with the real downloads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from streamer.errors import DownloadBrokenError, ExportLostError, LinkRefusedError
from streamer.model import ExportFile


class MemoryBody:
    def __init__(self, files: MemoryFiles, *, offset: int, cut_after: int | None) -> None:
        self.etag = files.etag
        self.position = min(offset, len(files.content))
        self._files = files
        self._cut_at = None if cut_after is None else min(self.position + cut_after, len(files.content))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        end = len(self._files.content) if self._cut_at is None else self._cut_at
        chunk = self._files.content[self.position : min(end, self.position + self._files.chunk_size)]
        if chunk:
            self.position += len(chunk)
            return chunk
        if self._cut_at is not None:
            raise DownloadBrokenError("cut short")
        raise StopAsyncIteration


class MemoryFiles:
    """Every link leads to ``content``.

    ``cuts`` and ``refusals`` are used up by openings, the first first: a cut is how many bytes are served from the
    offset on before the connection breaks, ``None`` for all; a refusal is an error to raise instead of opening.
    """

    def __init__(self, content: bytes, *, chunk_size: int = 4) -> None:
        self.content = content
        self.chunk_size = chunk_size
        self.etag: str | None = None
        self.cuts: list[int | None] = []
        self.refusals: list[Exception | None] = []
        self.refused_links: set[str] = set()
        self.opened: list[tuple[str, int, bytes, str | None]] = []

    @asynccontextmanager
    async def open(
        self, file: ExportFile, *, offset: int, tail: bytes = b"", etag: str | None = None
    ) -> AsyncGenerator[MemoryBody, None]:
        self.opened.append((file.link.reveal(), offset, tail, etag))
        if self.refusals and (refusal := self.refusals.pop(0)) is not None:
            raise refusal
        if file.link.reveal() in self.refused_links:
            raise LinkRefusedError(f"{file.name}: the link is refused")
        if etag is not None and self.etag not in (None, etag):
            raise ExportLostError("file changed")
        before = self.content[offset - len(tail) : offset]
        if before != tail[: len(before)]:
            raise ExportLostError("file changed")
        yield MemoryBody(self, offset=offset, cut_after=self.cuts.pop(0) if self.cuts else None)
