"""The control endpoint: what tests and verifiers do to the simulator from another process, by loopback."""

import contextlib
import functools
import ipaddress
from collections.abc import Awaitable, Callable
from datetime import datetime
from itertools import islice
from typing import Annotated

import msgspec
from aiohttp import web

from streamer.sandbox.entities import ENTITY_TYPES
from streamer.sandbox.exports import Status
from streamer.sandbox.faults import rule_from_json
from streamer.sandbox.moving_lines import ENTERPRISES
from streamer.sandbox.simulation import Simulation
from streamer.sandbox.simulator_api import json_response

LINES_AT_ONCE = 500
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Release(msgspec.Struct, forbid_unknown_fields=True):
    id: int | None = None


class Clock(msgspec.Struct, forbid_unknown_fields=True):
    """Whatever of it is given is done, in this order."""

    advance: float = 0.0
    now: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    speed: Annotated[float, msgspec.Meta(ge=0)] | None = None
    still: bool | None = None  # whether a moving world stands still while its clock goes on


class Reach(msgspec.Struct, forbid_unknown_fields=True):
    enterprises: list[Annotated[int, msgspec.Meta(ge=0, lt=ENTERPRISES)]]


class Data(msgspec.Struct, forbid_unknown_fields=True):
    files: list[bytes]  # base64


class NewStatus(msgspec.Struct, forbid_unknown_fields=True):
    status: Status | None


class ControlHandlers:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def state(self, _: web.Request) -> web.StreamResponse:
        return json_response(self._simulation.state())

    async def file(self, request: web.Request) -> web.StreamResponse:
        file = self._simulation.file(request.match_info["export_id"], int(request.match_info["index"]))
        response = web.StreamResponse()
        response.content_length = file.size
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client has left
            for piece in file.read(0, file.size):
                await response.write(piece)
        return response

    async def set_status(self, request: web.Request) -> web.StreamResponse:
        status = msgspec.json.decode(await request.read(), type=NewStatus).status
        self._simulation.set_status(request.match_info["export_id"], status)
        return json_response({})

    async def add_fault(self, request: web.Request) -> web.StreamResponse:
        return json_response({"id": self._simulation.add_fault(rule_from_json(await request.read()))})

    async def clear_faults(self, _: web.Request) -> web.StreamResponse:
        self._simulation.clear_faults()
        return json_response({})

    async def held(self, request: web.Request) -> web.StreamResponse:
        count, timeout = int(request.query.get("count", "1")), float(request.query.get("timeout", "10"))
        try:
            return json_response({"held": await self._simulation.held(count, timeout)})
        except TimeoutError:
            return json_response({"held": self._simulation.held_requests.listed()}, status=408)

    async def release(self, request: web.Request) -> web.StreamResponse:
        chosen = msgspec.json.decode(await request.read() or b"{}", type=Release)
        return json_response({"released": self._simulation.release(chosen.id)})

    async def set_data(self, request: web.Request) -> web.StreamResponse:
        data = msgspec.json.decode(await request.read(), type=Data)
        self._simulation.set_data(_entity_type(request), data.files)
        return json_response({})

    async def clear_data(self, request: web.Request) -> web.StreamResponse:
        self._simulation.clear_data(_entity_type(request))
        return json_response({})

    async def set_clock(self, request: web.Request) -> web.StreamResponse:
        simulation, clock = self._simulation, msgspec.json.decode(await request.read(), type=Clock)
        simulation.advance(clock.advance)
        simulation.set_clock(now=clock.now, speed=clock.speed)
        if clock.still is not None:
            simulation.hold_still(clock.still)
        return json_response({"now": simulation.now()})

    async def truth(self, request: web.Request) -> web.StreamResponse:
        at = request.query.get("at")
        moment = msgspec.convert(at, Annotated[datetime, msgspec.Meta(tz=True)]) if at else None
        lines = self._simulation.truth(_entity_type(request), token=int(request.query.get("token", "0")), at=moment)
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client has left
            while part := b"".join(line + b"\n" for line in islice(lines, LINES_AT_ONCE)):
                await response.write(part)
            await response.write_eof()
        return response

    async def deleted(self, request: web.Request) -> web.StreamResponse:
        return json_response(self._simulation.deleted(_entity_type(request)))

    async def set_reach(self, request: web.Request) -> web.StreamResponse:
        reach = msgspec.json.decode(await request.read(), type=Reach)
        self._simulation.set_reach(int(request.match_info["token"]), reach.enterprises)
        return json_response({})


def control_routes(simulation: Simulation) -> list[web.RouteDef]:
    control = ControlHandlers(simulation)
    routes = [
        ("GET", "state", control.state),
        ("GET", r"exports/{export_id}/files/{index:\d+}", control.file),
        ("PUT", "exports/{export_id}/status", control.set_status),
        ("POST", "faults", control.add_fault),
        ("DELETE", "faults", control.clear_faults),
        ("GET", "held", control.held),
        ("POST", "release", control.release),
        ("PUT", "data/{entity_type}", control.set_data),
        ("DELETE", "data/{entity_type}", control.clear_data),
        ("POST", "clock", control.set_clock),
        ("GET", "truth/{entity_type}", control.truth),
        ("GET", "deleted/{entity_type}", control.deleted),
        ("PUT", r"reach/{token:\d+}", control.set_reach),
    ]
    return [web.route(method, f"/_control/{path}", _guarded(handler)) for method, path, handler in routes]


def _guarded(handler: Handler) -> Handler:
    """Lets only this machine in, and answers what cannot be understood or found as it should be."""

    @functools.wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        if request.remote is None or not ipaddress.ip_address(request.remote).is_loopback:
            return json_response({"error": "loopback only"}, status=403)
        try:
            return await handler(request)
        except LookupError as exc:
            return json_response({"error": f"not found: {exc}"}, status=404)
        except ValueError as exc:  # msgspec's errors are among them
            return json_response({"error": str(exc)}, status=400)

    return guarded


def _entity_type(request: web.Request) -> str:
    entity_type = request.match_info["entity_type"]
    if entity_type not in ENTITY_TYPES:
        raise KeyError(entity_type)
    return entity_type
