"""Downloads as blob stores serve them: links judged byte for byte, ranges, and trouble within the body."""

import asyncio
import contextlib
import re
import zlib
from collections.abc import Iterable

import structlog
from aiohttp import web

from streamer.sandbox import faults
from streamer.sandbox.export_files import ExportFile
from streamer.sandbox.exports import Export, Status
from streamer.sandbox.file_answers import FileAnswer, file_answer
from streamer.sandbox.simulation import Simulation
from streamer.sandbox.simulator_api import close, reset, status_response

log = structlog.get_logger(__name__)

NAME = re.compile(r"([0-9a-f-]{36})-(\d{1,9})(-changed)?\.jsonl")
# How often a slowed download gets its share.
TICK_SECONDS = 0.05


class FileHandlers:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def get(self, request: web.Request) -> web.StreamResponse:
        simulation = self._simulation
        found = NAME.fullmatch(request.match_info["name"])
        export = simulation.api.exports.get(found[1]) if found else None
        simulation.count("file", [export.entity_type] if export else [])
        if self._carries_token(request):
            return blob_error(
                400, "InvalidAuthenticationInfo", "The request carries credentials besides its signature."
            )
        # The target as it came, before anything decodes it.
        if not simulation.links.accepts(request.raw_path, simulation.machine()):
            return link_refused()
        is_there = export is not None and export.status(simulation.machine()) is Status.SUCCESS and export.files
        if export is None or found is None or not is_there:
            return blob_error(404, "BlobNotFound", "The specified blob does not exist.")
        # A file beyond the last is there only because a fault listed it.
        index = int(found[2])
        file = export.files[min(index, len(export.files) - 1)]
        actions = [strike.action for strike in simulation.faults.strike("file", [export.entity_type], index)]
        return await self._answered(request, export, index, file, actions)

    async def _answered(
        self, request: web.Request, export: Export, index: int, file: ExportFile, actions: list[faults.Action]
    ) -> web.StreamResponse:
        if any(isinstance(action, faults.Hold) and action.at_byte is None for action in actions):
            await self._simulation.held_requests.hold("file", export.entity_type, export.id, index)
        for action in actions:
            if (instead := self._instead(action, request, export, index)) is not None:
                return instead
        etag = f'"0x8D{export.id[:8]}{index:04X}{file.size:X}"' if self._simulation.settings.etags else None
        wanted, condition = request.headers.get("Range"), request.headers.get("If-Range")
        answer = file_answer(file.size, etag, wanted, condition, actions)
        if answer.status == 416:
            return blob_error(416, "InvalidRange", "The range specified is invalid.", answer.headers)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = answer.content_length
        with contextlib.suppress(ConnectionError):  # the client has left
            await response.prepare(request)
            if request.method != "HEAD":
                await self._send(Body(self._simulation, response, file, answer), request, export, index)
        return response

    def _instead(self, action: faults.Action, request: web.Request, export: Export, index: int) -> web.Response | None:
        """What is answered instead of the file, if anything."""
        match action:
            case faults.Status():
                return status_response(action, self._simulation)
            case faults.NoContent():
                return web.Response(status=204)
            case faults.Lost():
                close(request)
                return web.Response()
            case faults.Reset():
                reset(request)
                return web.Response()
            case faults.LinkExpired():
                return link_refused()
            case faults.Redirect(location=location, code=code):
                target = location or self._simulation.link(export.file_name(index))
                return web.Response(status=code, headers={"Location": target})
            case _:
                return None

    async def _send(self, body: "Body", request: web.Request, export: Export, index: int) -> None:
        for strike in body.answer.strikes:
            await body.send_up_to(strike.at)
            match strike.action:
                case faults.Hold() | faults.Stall():
                    await self._simulation.held_requests.hold("file", export.entity_type, export.id, index)
                    continue
                case faults.FailExport():
                    self._simulation.set_status(export.id, Status.FAILED)
                case faults.ExpireExport():
                    self._simulation.set_status(export.id, Status.EXPIRED)
                case _:
                    pass
            close(request)
            return
        await body.finish()

    def _carries_token(self, request: web.Request) -> bool:
        settings = self._simulation.settings
        secrets = (settings.client_token, *settings.access_tokens)
        told = [request.raw_path, *request.headers.values()]
        return "Authorization" in request.headers or any(secret in text for text in told for secret in secrets)


class Body:
    """The bytes of an answer on their way, at the pace that was set."""

    def __init__(
        self, simulation: Simulation, response: web.StreamResponse, file: ExportFile, answer: FileAnswer
    ) -> None:
        rates = [rate for rate in (simulation.settings.bytes_per_second, answer.bytes_per_second) if rate]
        self._rate = min(rates, default=None)
        self._simulation = simulation
        self._response = response
        self._file = file
        self._position = answer.start
        self.answer = answer
        self._gzip = zlib.compressobj(1, wbits=31) if answer.gzip else None

    async def send_up_to(self, stop: int) -> None:
        for piece in self._file.read(self._position, min(stop, self._file.size)):
            for part in self._parts(piece):
                await self._write(
                    self._gzip.compress(part) + self._gzip.flush(zlib.Z_SYNC_FLUSH) if self._gzip else part
                )
                self._simulation.file_bytes_sent += len(part)
                self._position += len(part)

    async def finish(self) -> None:
        await self.send_up_to(self.answer.stop)
        if self._gzip is not None:
            await self._write(self._gzip.flush())
        await self._response.write_eof()

    async def _write(self, data: bytes) -> None:
        await self._response.write(data)
        if self._rate is not None:
            await asyncio.sleep(len(data) / self._rate)

    def _parts(self, piece: bytes) -> Iterable[bytes]:
        if self._rate is None:
            return (piece,)
        share = max(int(self._rate * TICK_SECONDS), 1)
        return (piece[start : start + share] for start in range(0, len(piece), share))


def link_refused() -> web.Response:
    return blob_error(403, "AuthenticationFailed", "Signature not valid in the specified time frame.")


def blob_error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Blob stores speak XML."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    text = f'<?xml version="1.0" encoding="utf-8"?>{error}'
    response = web.Response(text=text, status=status, content_type="application/xml")
    if headers and "Content-Range" in headers:
        response.headers["Content-Range"] = headers["Content-Range"]
    return response
