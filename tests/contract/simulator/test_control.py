"""The control endpoint: what the simulator's methods do, over HTTP."""

import asyncio
import base64
from typing import Any

import pytest

from streamer.sandbox import faults
from streamer.sandbox.exports import Status
from tests.contract.simulator.caller import DATA, Caller


async def test_the_control_endpoint_does_what_the_methods_do(caller: Caller) -> None:
    async def control(method: str, path: str, body: object = None) -> tuple[int, Any]:
        url = f"{caller.simulator.url}/_control/{path}"
        async with caller.session.request(method, url, json=body) as response:
            return response.status, await response.json()

    files = [base64.b64encode(data).decode() for data in (DATA, b"")]
    assert await control("PUT", "data/Bill", {"files": files}) == (200, {})
    assert await control("POST", "faults", {"on": "get_all", "action": "hold"}) == (200, {"id": 1})
    export = await caller.add()
    assert await control("POST", "clock", {"advance": 30}) == (200, {"now": "2026-05-01T12:00:30Z"})
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(caller.get(export["Id"]))
        status, answer = await control("GET", "held?count=1&timeout=5")
        assert (status, answer["held"][0]["on"]) == (200, "get_all")
        assert await control("POST", "release", {"id": answer["held"][0]["id"]}) == (200, {"released": 1})
    assert call.result()["Status"] == "Success"
    status, state = await control("GET", "state")
    assert status == 200
    assert state["requests"] == {"add": 1, "getAll": 1, "file": 0}
    assert state["requests_by_type"] == {"Bill": {"add": 1, "getAll": 1}}
    assert state["faults"][0]["rule"]["action"] == {"name": "hold", "before": False, "at_byte": None}
    (told,) = state["exports"]
    assert (told["status"], told["lines"], told["filters"]) == ("Success", 50_000, None)
    assert told["files"][0] == {
        "index": 0,
        "name": f"{export['Id']}-0.jsonl",
        "size": len(DATA),
        "lines": 50_000,
    }
    assert await control("DELETE", "faults") == (200, {})
    assert await control("DELETE", "data/Bill") == (200, {})
    assert await control("PUT", f"exports/{export['Id']}/status", {"status": "Failed"}) == (200, {})
    assert (await caller.get(export["Id"]))["Status"] == "Failed"
    assert (await control("GET", "held?timeout=0.01"))[0] == 408


async def test_the_control_endpoint_gives_the_true_bytes_whatever_the_faults(caller: Caller) -> None:
    caller.simulator.set_data("Bill", [DATA])
    export = await caller.ready()
    caller.fault("file", faults.Cut(at_byte=10), times=None)
    caller.simulator.set_status(export["Id"], Status.EXPIRED)
    url = f"{caller.simulator.url}/_control/exports/{export['Id']}/files/0"
    async with caller.session.get(url) as response:
        assert await response.read() == DATA


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "faults", {"on": "file", "action": "melt"}, 400),
        ("PUT", "data/Room", {"files": []}, 404),
        ("PUT", "data/Bill", {"files": ["*"]}, 400),
        ("GET", "exports/nobody/files/0", None, 404),
        ("POST", "clock", {"advance": "now"}, 400),
        ("GET", "secrets", None, 404),
    ],
)
async def test_the_control_endpoint_refuses_what_it_does_not_understand(
    caller: Caller, method: str, path: str, body: object, status: int
) -> None:
    async with caller.session.request(method, f"{caller.simulator.url}/_control/{path}", json=body) as response:
        assert response.status == status
