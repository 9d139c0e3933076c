"""A client of the simulator, with the settings and the data that the tests share."""

import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import yarl

from streamer.sandbox.faults import Action, FaultRule, Operation
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTINGS = SimulatorSettings(
    access_tokens=("demo-access-token", "second-token"),
    entities=1000,
    files=2,
    pending_seconds=10,
    processing_seconds=20,
)
DATA = b'{"Id":"a"}\n' * 50_000


class Caller:
    """A client of the API that sends what it is told to and looks at what comes back."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def call(self, operation: str, **fields: object) -> tuple[int, Any, aiohttp.ClientResponse]:
        body = {"ClientToken": "demo-client-token", "AccessToken": "demo-access-token", "Client": "tests 1.0"}
        url = f"{self.simulator.url}/api/connector/v1/exports/{operation}"
        async with self.session.post(url, json=body | fields) as response:
            text = await response.read()
            is_json = response.content_type == "application/json" and text
            return response.status, json.loads(text) if is_json else text, response

    async def add(self, entity_type: str = "Bill", **fields: object) -> dict[str, Any]:
        status, answer, _ = await self.call("add", EntityType=entity_type, **fields)
        assert status == 200, answer
        export: dict[str, Any] = answer["Export"]
        return export

    async def get(self, export_id: str) -> dict[str, Any]:
        status, answer, _ = await self.call("getAll", ExportIds=[export_id])
        assert status == 200, answer
        export: dict[str, Any] = answer["Exports"][0]
        return export

    async def ready(self, entity_type: str = "Bill") -> dict[str, Any]:
        """An export that succeeded, with fresh links."""
        export = await self.add(entity_type)
        self.simulator.advance(30)
        return await self.get(export["Id"])

    async def ready_link(self) -> str:
        """The link of a file of which the bytes are known."""
        self.simulator.set_data("Bill", [DATA])
        export = await self.ready()
        link: str = export["Files"][0]["Url"]
        return link

    def fetch(self, link: str, method: str = "GET", **headers: str) -> Any:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.request(
            method, yarl.URL(link, encoded=True), headers=names, allow_redirects=False, auto_decompress=False
        )

    def fault(self, on: Operation, action: Action, **rule: Any) -> None:
        self.simulator.add_fault(FaultRule(on=on, action=action, **rule))


MOVING = SimulatorSettings(
    access_tokens=("demo-access-token", "second-token"),
    moving=True,
    start=datetime(2026, 3, 1, tzinfo=UTC),
    speed=3600,
    entities=300,
    cycle_seconds=86_400,
    reach={0: (0, 1), 1: (2,)},
    pending_seconds=10,
    processing_seconds=20,
)
