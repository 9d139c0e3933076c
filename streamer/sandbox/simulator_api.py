"""`exports/add` and `exports/getAll` over HTTP, with the faults that strike them."""

import asyncio
import socket
import struct
from datetime import timedelta
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from aiohttp import web

from streamer.sandbox import faults
from streamer.sandbox.answer_shapes import EXTRA, shaped
from streamer.sandbox.api_requests import ApiError
from streamer.sandbox.export_api import export_answer
from streamer.sandbox.exports import Export, Status
from streamer.sandbox.faults import Strike
from streamer.sandbox.simulation import Simulation

log = structlog.get_logger(__name__)


class ApiHandlers:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def add(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        entity_type = body.get("EntityType") if isinstance(body, dict) else None
        entity_types = [entity_type] if isinstance(entity_type, str) else []
        return await self._answered(request, "add", body, entity_types)

    async def get_all(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        ids = body.get("ExportIds") if isinstance(body, dict) else None
        exports = self._simulation.api.exports
        asked = [i for i in ids if isinstance(i, str) and i in exports] if isinstance(ids, list) else []
        return await self._answered(request, "get_all", body, sorted({exports[i].entity_type for i in asked}))

    async def _answered(
        self, request: web.Request, on: faults.Operation, body: object, entity_types: list[str]
    ) -> web.StreamResponse:
        """Strikes first, then processes; holds back before or after, as told."""
        simulation = self._simulation
        simulation.count("getAll" if on == "get_all" else on, entity_types)
        strikes = simulation.faults.strike(on, entity_types)
        held_type = entity_types[0] if entity_types else None
        if any(isinstance(strike.action, faults.Hold) and strike.action.before for strike in strikes):
            # What reached the server is processed in the end, whether the client is still there or not.
            task = asyncio.create_task(self._processed_later(request, on, body, strikes, held_type))
            simulation.background.add(task)
            task.add_done_callback(simulation.background.discard)
            return await asyncio.shield(task)
        answer, export_id = self._processed(request, on, body, strikes)
        if any(isinstance(strike.action, faults.Hold) for strike in strikes):
            await simulation.held_requests.hold(on, held_type, export_id)
        return _sent(request, answer, strikes)

    async def _processed_later(
        self,
        request: web.Request,
        on: faults.Operation,
        body: object,
        strikes: list[Strike],
        held_type: str | None,
    ) -> web.StreamResponse:
        await self._simulation.held_requests.hold(on, held_type)
        return _sent(request, self._processed(request, on, body, strikes)[0], strikes)

    def _processed(
        self, request: web.Request, on: faults.Operation, body: object, strikes: list[Strike]
    ) -> tuple[web.Response, str | None]:
        """The answer of the API, or of a fault that does without it, and the export that it is about."""
        simulation = self._simulation
        times = simulation.now(), simulation.machine()
        for strike in strikes:
            if isinstance(strike.action, faults.Status):
                return status_response(strike.action, simulation), None
            if isinstance(strike.action, faults.Reset):
                return web.Response(), None
        try:
            if request.content_type != "application/json":
                raise ApiError(400, "Invalid Content-Type")
            if body is INVALID:
                raise ApiError(400, "Invalid JSON")
            exports = [simulation.api.add(body, *times)] if on == "add" else simulation.api.get_all(body, *times)
        except ApiError as exc:
            log.info("request_refused", operation=on, code=exc.code, message=exc.message)
            return error_response(exc), None
        for strike in strikes:
            self._decree(strike, exports)
        answers = [self._told(export, strikes) for export in exports]
        answer: dict[str, Any] = {"Export": answers[0]} if on == "add" else {"Exports": answers}
        if any(isinstance(strike.action, faults.ExtraFields) for strike in strikes):
            answer = EXTRA | answer
        if on == "add":
            log.info("export_added", export_id=exports[0].id, entity_type=exports[0].entity_type)
        return json_response(answer), exports[0].id if exports else None

    def _decree(self, strike: Strike, exports: list[Export]) -> None:
        match strike.action:
            case faults.FailExport():
                status = Status.FAILED
            case faults.ExpireExport():
                status = Status.EXPIRED
            case faults.SpoilLine() as spoil:
                self._simulation.api.spoil(exports[0].id, spoil)
                return
            case _:
                return
        for export in exports:
            if strike.entity_type in {None, export.entity_type}:
                self._simulation.set_status(export.id, status)

    def _told(self, export: Export, strikes: list[Strike]) -> dict[str, Any]:
        answer = export_answer(export, self._simulation.now(), self._simulation.machine(), self._simulation.link)
        return shaped(answer, export, strikes, self._simulation.link)


INVALID = object()


async def _body(request: web.Request) -> object:
    try:
        return msgspec.json.decode(await request.read())
    except msgspec.DecodeError:
        return INVALID


def _sent(request: web.Request, answer: web.Response, strikes: list[Strike]) -> web.Response:
    for strike in strikes:
        match strike.action:
            case faults.Lost():
                close(request)
            case faults.Reset():
                reset(request)
            case faults.NoContent():
                return web.Response(status=204)
            case _:
                pass
    return answer


def close(request: web.Request) -> None:
    """What was written arrives; nothing else does."""
    if request.transport is not None:
        request.transport.close()


def reset(request: web.Request) -> None:
    """Unlike a mere close, this sends the client a reset: no lingering."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


def json_response(content: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")


def error_response(error: ApiError) -> web.Response:
    request_id = uuid4().hex
    response = json_response({"Message": error.message, "RequestId": request_id, "Details": error.details}, error.code)
    response.headers["Request-Id"] = request_id
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def status_response(action: faults.Status, simulation: Simulation) -> web.Response:
    if action.body == "json":
        response = error_response(ApiError(action.code, action.message))
    elif action.body == "html":
        page = f"<!DOCTYPE html><html><body><h1>{action.code}</h1><p>{action.message}</p></body></html>"
        response = web.Response(text=page, status=action.code, content_type="text/html")
    else:
        response = web.Response(status=action.code)
    if action.retry_after_date:
        moment = simulation.now() + timedelta(seconds=float(action.retry_after or 0))
        response.headers["Retry-After"] = format_datetime(moment, usegmt=True)
    elif action.retry_after is not None:
        response.headers["Retry-After"] = str(action.retry_after)
    return response
