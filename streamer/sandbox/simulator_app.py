"""The simulator's HTTP side: the two operations, the files, and everything else not found."""

from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from http import HTTPStatus
from uuid import uuid4

from aiohttp import web

from streamer.sandbox.simulation import Simulation
from streamer.sandbox.simulator_api import ApiHandlers
from streamer.sandbox.simulator_control import control_routes
from streamer.sandbox.simulator_files import FileHandlers

PREFIX = "/api/connector/v1/exports"
# Room for getAll of a thousand ids and for files of bad bytes in the control endpoint.
LONGEST_BODY = 256 * 1024**2


def simulator_app(simulation: Simulation) -> web.Application:
    app = web.Application(client_max_size=LONGEST_BODY)
    app.on_response_prepare.append(_stamp(simulation))
    api, files = ApiHandlers(simulation), FileHandlers(simulation)
    app.add_routes(control_routes(simulation))
    app.router.add_post(f"{PREFIX}/add", api.add)
    app.router.add_post(f"{PREFIX}/getAll", api.get_all)
    app.router.add_get("/files/{name}", files.get, allow_head=True)
    app.router.add_route("*", "/{anything:.*}", _not_found)
    return app


def _stamp(simulation: Simulation) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def stamp(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = format_datetime(simulation.now(), usegmt=True)
        response.headers.setdefault("Request-Id", uuid4().hex)

    return stamp


async def _not_found(_: web.Request) -> web.Response:
    return web.json_response({"Message": HTTPStatus(404).phrase, "RequestId": None, "Details": None}, status=404)
