"""Mews and the host of its files in memory, as far as streams see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from streamer.core.scope import Scope
from streamer.errors import RetriableError
from streamer.mews.api import Accepted
from streamer.model import EntityType, Export, ExportFile, ExportId, ExportStatus, Link, Window


class MemoryMews:
    """Exports of the files that it is told of.

    ``adds`` and ``answers`` are used up by calls, the first first: errors are raised, a status is that of an export
    that is asked for; with nothing left an export is accepted, then ready. ``hold`` keeps an answer of ``add`` back.
    """

    def __init__(self, files: Sequence[bytes]) -> None:
        self.files = {f"part-{n}.jsonl": content for n, content in enumerate(files)}
        self.adds: list[Exception | None] = []
        self.answers: list[ExportStatus | Exception | Export | None] = []
        self.hold: asyncio.Event | None = None
        self.added: list[ExportId] = []
        self.asked: list[tuple[Window | None, Scope]] = []
        self._told: dict[ExportId, tuple[str, Window | None]] = {}
        self.now: Callable[[], datetime | None] = lambda: None
        """What its answers' dates say."""
        self.is_heard = False
        """Whether this process has had an answer."""
        self.add_calls = 0
        self.fetches = 0
        self.on_add: Callable[[], object] = lambda: None

    @property
    def server_now(self) -> datetime | None:
        return self.now() if self.is_heard else None

    async def add(
        self, entity_type: EntityType, *, window: Window | None, scope: Scope, within: float | None = None
    ) -> Accepted:
        if within is not None and within <= 0:
            raise RetriableError("the request would leave too late")
        self.add_calls += 1
        self.on_add()
        scripted = self.adds.pop(0) if self.adds else None
        self.asked.append((window, scope))
        self.is_heard = True
        if scripted is None:
            self.added.append(ExportId(f"e{len(self.added) + 1}"))
            self._told[self.added[-1]] = entity_type.value, window
        answer = scripted or Accepted(self._export(self.added[-1], ExportStatus.PENDING), self.now())
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def know(self, export_id: ExportId, entity_type: EntityType, window: Window | None) -> None:
        """An export whose id got lost, or that somebody else has asked for."""
        self._told[export_id] = entity_type.value, window

    async def fetch(self, export_id: ExportId) -> Export | None:
        await asyncio.sleep(0)
        self.fetches += 1
        self.is_heard = True
        answer = self.answers.pop(0) if self.answers else ExportStatus.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        if answer is None or isinstance(answer, Export):
            return answer
        return self._export(export_id, answer, self.listed() if answer is ExportStatus.SUCCESS else ())

    def _export(self, export_id: ExportId, status: ExportStatus, files: tuple[ExportFile, ...] = ()) -> Export:
        entity_type, window = self._told.get(export_id, ("", None))
        return Export(export_id, status, files, raw_status="Dozing", entity_type=entity_type, window=window)

    def listed(self) -> tuple[ExportFile, ...]:
        """The files with fresh links."""
        return tuple(
            ExportFile(Link(f"https://blobs.test/{name}?sig={self.fetches}"), len(content))
            for name, content in self.files.items()
        )


class MemoryHost:
    """Serves the files of ``MemoryMews`` in small chunks.

    ``pauses`` holds back what follows a byte of a file, ``(name, offset)``, for so many seconds, once. ``breaks`` are
    errors that the next chunks meet instead, used up by them.
    """

    def __init__(self, mews: MemoryMews, *, chunk_size: int = 16) -> None:
        self.chunk_size = chunk_size
        self.pauses: dict[tuple[str, int], float] = {}
        self.breaks: list[Exception] = []
        self.served = 0
        self.opened: list[tuple[str, int]] = []
        self.etag: str | None = '"v1"'
        self._mews = mews

    @asynccontextmanager
    async def open(
        self, file: ExportFile, *, offset: int, tail: bytes = b"", etag: str | None = None
    ) -> AsyncGenerator[MemoryBody, None]:
        assert etag in (None, self.etag)
        self.opened.append((file.name, offset))
        yield MemoryBody(self, file.name, self._mews.files[file.name], offset)


class MemoryBody:
    """One download."""

    def __init__(self, host: MemoryHost, name: str, content: bytes, offset: int) -> None:
        self.etag = host.etag
        self.position = offset
        self._host = host
        self._name = name
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(self._host.pauses.pop((self._name, self.position), 0.0))
        if self._host.breaks:
            raise self._host.breaks.pop(0)
        chunk = self._content[self.position : self.position + self._host.chunk_size]
        if not chunk:
            raise StopAsyncIteration
        self.position += len(chunk)
        self._host.served += len(chunk)
        return chunk
