"""Reads one file of an export to its end, through refused links, broken connections and restarts.

A newcomer would get wrong: an export's links die after ten minutes but a download under way may take hours,
so a link's age matters only when a request is made; a clean end proves nothing, only the length that Mews
announced does, and a length that differs must be seen twice before it counts; and attempts are counted from
the last byte of progress, so a file that breaks a thousand times, but moves on each time, gets there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import structlog

from streamer.core.backoff import BackoffPolicy, delay
from streamer.errors import DownloadBrokenError, ExportLostError, LinkRefusedError, RetriableError
from streamer.model import Export, ExportFile, ExportId, ExportStatus

LINK_SECONDS = 480.0
"""How long a link is used: two minutes less than it is good for (use-cases/data-export)."""

TAIL_BYTES = 4096
"""What has to come again when a download goes on: a few lines, enough to notice another version of the file.
"""

SizeMismatch = Literal["fail", "accept"]
"""What to do with a file that is whole by HTTP, but has another length than Mews announced."""

_log = structlog.get_logger()


class Links(Protocol):
    """Where fresh links come from."""

    async def fetch(self, export_id: ExportId) -> Export | None:
        """The export as it is now, ``None`` where it is unknown. Raises ``RetriableError``,
        ``AccessRefusedError``.
        """


class FileBody(Protocol):
    """A file's bytes from an offset on; iterating raises what ``Files.open`` may raise."""

    @property
    def etag(self) -> str | None:
        """Version of the file, where the server vouches for one."""

    @property
    def position(self) -> int:
        """The byte of the file that comes next; after the last chunk, the file's length as it was served.

        That is less than the offset where the file, or what came of it, ended before.
        """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks, none of them empty; together the bytes from the offset to ``position``."""


class Files(Protocol):
    """Where files are read from."""

    def open(
        self, file: ExportFile, *, offset: int, tail: bytes = b"", etag: str | None = None
    ) -> AbstractAsyncContextManager[FileBody]:
        """The bytes from ``offset`` on, of the very file that has ``tail`` just before and had ``etag``.

        Raises ``LinkRefusedError`` and ``DownloadBrokenError``, after which it makes sense to try again;
        ``ExportLostError`` where the file is another one now; ``AccessRefusedError`` where nothing helps.
        """


class FileReader:
    """Reads files over its ports; keeps nothing of them, so one does for a connection."""

    def __init__(
        self,
        *,
        links: Links,
        files: Files,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        random: Callable[[], float],
        backoff: BackoffPolicy,
        size_mismatch: SizeMismatch = "fail",
        link_seconds: float = LINK_SECONDS,
        tail_bytes: int = TAIL_BYTES,
        count_retry: Callable[[str], object] = lambda reason: None,  # noqa: ARG005
    ) -> None:
        """``clock`` in seconds, never going back; ``random`` in ``[0, 1)``; ``count_retry`` is called with
        the name of the error (or ``size_mismatch``) before each wait, for a metric.
        """
        self.links = links
        self.files = files
        self.clock = clock
        self.sleep = sleep
        self.random = random
        self.backoff = backoff
        self.size_mismatch = size_mismatch
        self.link_seconds = link_seconds
        self.tail_bytes = tail_bytes
        self.count_retry = count_retry

    def read(
        self,
        export: Export,
        index: int,
        *,
        fetched_at: float | None = None,
        offset: int = 0,
        etag: str | None = None,
    ) -> Reading:
        """Begin with file ``index`` of ``export`` at byte ``offset``.

        ``export``: with the file list that is to be published. ``fetched_at``: reading of ``clock`` just
        before its links were asked for; without it they are fetched anew. ``etag``: that of an earlier
        reading.
        """
        return Reading(self, export, index, fetched_at=fetched_at, offset=offset, etag=etag)


class Reading:
    """One file on its way; ``chunks`` once, the attributes at any time between two chunks."""

    def __init__(
        self,
        reader: FileReader,
        export: Export,
        index: int,
        *,
        fetched_at: float | None,
        offset: int,
        etag: str | None,
    ) -> None:
        self.position = offset
        """The byte of the file that comes next."""
        self.etag = etag
        """For the checkpoint: with it a later reading notices another version of the file."""
        self.export = export
        """The export with the youngest links, for the next file."""
        self.fetched_at = fetched_at
        """The clock just before those links were asked for; ``None`` if nobody knows."""
        self.accepted_size: int | None = None
        """The file's length in bytes where it isn't the announced one and was accepted (``size_mismatch``).
        """
        self._reader = reader
        self._index = index
        self._size = export.files[index].size
        self._tail = b""
        self._attempt = 0
        self._absences = 0
        self._last_end: int | None = None
        self._log = _log.bind(export_id=export.id, file=export.files[index].name)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes from the offset to the file's end, each once and none empty, in chunks of what the
        network gives.

        Close it (``contextlib.aclosing``) when leaving early: it holds a connection. Goes on for ever in the
        face of ``RetriableError``. Raises ``ExportLostError`` where the export can't be finished, ``expired``
        where that is because Mews has deleted the files; ``AccessRefusedError``.
        """
        while True:
            try:
                file = await self._linked()
                tail = self._tail
                async with self._reader.files.open(file, offset=self.position, tail=tail, etag=self.etag) as body:
                    self.etag = body.etag or self.etag
                    async for chunk in body:
                        if new := self._take(chunk):
                            yield new
                    ended_at = body.position
            except LinkRefusedError as error:
                self.fetched_at = None
                await self._wait(error, at_once=self._attempt == 0)
            except RetriableError as error:
                await self._wait(error)
            else:
                if self._is_whole(ended_at):
                    return
                await self._wait(
                    DownloadBrokenError(f"the file ended at byte {ended_at} of {self._size}"),
                    counted_as="size_mismatch",
                )

    async def _linked(self) -> ExportFile:
        """The file with a link that is young enough, after a look at the export that it belongs to."""
        now = self._reader.clock()
        if self.fetched_at is None or now - self.fetched_at > self._reader.link_seconds:
            fresh = await self._reader.links.fetch(self.export.id)
            if fresh is None:
                self._absences += 1
                if self._absences > 1:
                    raise ExportLostError("export unknown to Mews", expired=True)
                # One answer without it can be a hiccup (a 204 is nothing but one); a new export takes hours.
                raise DownloadBrokenError("Mews does not list the export")
            self._absences = 0
            _check_same(self.export, fresh)
            self.export, self.fetched_at = fresh, now
        return self.export.files[self._index]

    def _take(self, chunk: bytes) -> bytes:
        if self._reader.size_mismatch == "fail":
            # What lies past the announced size is only counted (by the body): the export will fail over it.
            chunk = chunk[: max(0, self._size - self.position)]
        if chunk:
            self.position += len(chunk)
            self._attempt = 0
            keep = self._reader.tail_bytes
            self._tail = (chunk if len(chunk) >= keep else self._tail + chunk)[-keep:] if keep else b""
        return chunk

    def _is_whole(self, ended_at: int) -> bool:
        """Whether nothing is missing; ``False`` to try once more. Raises ``ExportLostError`` if that was
        tried.
        """
        if ended_at == self._size:
            return True
        if ended_at != self._last_end:
            self._last_end = ended_at
            return False
        if self._reader.size_mismatch == "accept" and ended_at == self.position:
            self.accepted_size = ended_at
            self._log.warning("file_size_accepted", announced=self._size, size=ended_at)
            return True
        raise ExportLostError(f"size mismatch: {self._size} bytes announced, {ended_at} served")

    async def _wait(self, error: RetriableError, *, at_once: bool = False, counted_as: str | None = None) -> None:
        self._attempt += 1
        reader = self._reader
        wait = delay(reader.backoff, self._attempt, random=reader.random, retry_after=error.retry_after)
        if at_once and error.retry_after is None:
            wait = 0.0
        reader.count_retry(counted_as or type(error).__name__)
        self._log.warning(
            "download_interrupted",
            reason=str(error),
            position=self.position,
            attempt=self._attempt,
            delay=round(wait, 3),
        )
        if wait:
            await reader.sleep(wait)


def _check_same(expected: Export, fresh: Export) -> None:
    """Raises ``ExportLostError`` where ``fresh`` doesn't hold the files of ``expected`` any more."""
    match fresh.status:
        case ExportStatus.EXPIRED:
            raise ExportLostError("export expired", expired=True)
        case ExportStatus.FAILED:
            raise ExportLostError("export failed")
        case ExportStatus.PENDING | ExportStatus.PROCESSING | ExportStatus.UNKNOWN:
            status = fresh.raw_status or fresh.status.value
            raise DownloadBrokenError(f"the export's files are not ready any more (status {status})")
        case ExportStatus.SUCCESS:
            if _listed(fresh) != _listed(expected):
                raise ExportLostError("file list changed")


def _listed(export: Export) -> list[tuple[str, int]]:
    return [(file.name, file.size) for file in export.files]
