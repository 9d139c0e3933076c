"""Data that move: what an export of them holds, and who may see and steer them."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from tests.contract.simulator.caller import MOVING, Caller


@pytest.mark.parametrize("settings", [MOVING], indirect=True)
async def test_an_export_of_data_that_move_is_the_truth_of_one_moment_before_its_success(caller: Caller) -> None:
    simulator = caller.simulator
    added = await caller.add()
    requested = simulator.now()
    simulator.advance(86_400)
    ready = await caller.get(added["Id"])
    looked = simulator.now()
    simulator.advance(300)
    moment = simulator.export(added["Id"]).moment
    assert moment is not None
    assert requested < moment <= looked
    assert ready["ExpiresUtc"] is not None
    lines = []
    for file in (await caller.get(added["Id"]))["Files"]:
        async with caller.fetch(file["Url"]) as response:
            lines += (await response.read()).splitlines()
    assert lines == list(simulator.truth("Bill", at=moment)) != list(simulator.truth("Bill"))


@pytest.mark.parametrize("settings", [msgspec.structs.replace(MOVING, stale_seconds=1800)], indirect=True)
async def test_a_snapshot_may_be_stale_and_a_window_never_is(caller: Caller) -> None:
    simulator, ages = caller.simulator, []
    window = {"UpdatedUtc": {"StartUtc": "2026-02-01T00:00:00Z", "EndUtc": "2026-02-28T00:00:00Z"}}
    for filters in (None, None, window):
        added = await caller.add(Filters=filters)
        simulator.advance(1001)
        await caller.get(added["Id"])
        moment = simulator.export(added["Id"]).moment
        assert moment is not None
        ages.append((simulator.now() - moment).total_seconds())
    assert 0 < max(ages[:2]) <= 1800
    assert ages[2] == 0


@pytest.mark.parametrize("settings", [MOVING], indirect=True)
async def test_a_scope_selects_among_the_enterprises_that_the_token_reaches(caller: Caller) -> None:
    enterprises = caller.simulator.state()["enterprises"]

    async def found(*numbers: int, position: int = 0) -> set[str]:
        token = caller.simulator.settings.access_tokens[position]
        scope = {"EnterpriseIds": [enterprises[number] for number in numbers]} if numbers else None
        export = await caller.add(Scope=scope, AccessToken=token)
        caller.simulator.advance(30)
        await caller.call("getAll", ExportIds=[export["Id"]], AccessToken=token)
        lines = b"".join(b"".join(file.read(0, file.size)) for file in caller.simulator.export(export["Id"]).files)
        return {json.loads(line)["EnterpriseId"] for line in lines.splitlines()}

    assert await found() == {enterprises[0], enterprises[1]}
    assert await found(1) == {enterprises[1]}
    assert await found(position=1) == {enterprises[2]}
    status, answer, _ = await caller.call("add", EntityType="Bill", Scope={"EnterpriseIds": [enterprises[2]]})
    assert (status, answer["Message"]) == (400, "Invalid Scope.EnterpriseIds")
    other = {"ChainIds": [enterprises[0]]}
    status, answer, _ = await caller.call("add", EntityType="Customer", Scope=other)
    assert (status, answer["Message"]) == (400, "Invalid Scope.ChainIds")
    caller.simulator.set_reach(0, [1])
    assert await found() == {enterprises[1]}


@pytest.mark.parametrize("settings", [MOVING], indirect=True)
async def test_data_that_stand_still_do_so_while_the_clock_goes_on(caller: Caller) -> None:
    simulator = caller.simulator
    simulator.hold_still()
    before = list(simulator.truth("Bill")), simulator.deleted("Bill")
    simulator.advance(10 * 86_400)
    assert (list(simulator.truth("Bill")), simulator.deleted("Bill")) == before
    export = await caller.ready()
    lines = [b"".join(file.read(0, file.size)) for file in simulator.export(export["Id"]).files]
    assert sorted(b"".join(lines).splitlines()) == sorted(before[0])
    simulator.hold_still(False)
    assert list(simulator.truth("Bill")) != before[0]
    assert len(simulator.deleted("Bill")) > len(before[1])


@pytest.mark.parametrize("settings", [MOVING], indirect=True)
async def test_the_control_endpoint_tells_the_truth_of_data_that_move_and_sets_their_clock(caller: Caller) -> None:
    simulator = caller.simulator

    async def control(method: str, path: str, body: object = None) -> tuple[int, bytes]:
        async with caller.session.request(method, f"{simulator.url}/_control/{path}", json=body) as response:
            return response.status, await response.read()

    simulator.advance(9 * 86_400)
    assert (await control("GET", "truth/Bill"))[1].splitlines() == list(simulator.truth("Bill"))
    assert (await control("GET", "truth/Bill?token=1"))[1].splitlines() == list(simulator.truth("Bill", token=1))
    then = await control("GET", "truth/Bill?at=2026-03-02T00:00:00Z")
    assert then[1].splitlines() == list(simulator.truth("Bill", at=datetime(2026, 3, 2, tzinfo=UTC)))
    deleted = json.loads((await control("GET", "deleted/Bill"))[1])
    assert deleted.keys() == simulator.deleted("Bill").keys() != set()
    moved = await control("POST", "clock", {"now": "2026-04-01T00:00:00Z", "speed": 0, "still": True})
    assert json.loads(moved[1]) == {"now": "2026-04-01T00:00:00Z"}
    assert simulator.moving.still_at == simulator.now() == datetime(2026, 4, 1, tzinfo=UTC)
    assert (await control("PUT", "reach/1", {"enterprises": [0, 2]}))[0] == 200
    assert simulator.moving.reach["second-token"] == {0, 2}
    for method, path, body, code in (
        ("PUT", "reach/1", {"enterprises": [3]}, 400),
        ("PUT", "reach/7", {"enterprises": [0]}, 404),
        ("GET", "truth/Room", None, 404),
        ("GET", "truth/Bill?at=yesterday", None, 400),
        ("POST", "clock", {"speed": -1}, 400),
    ):
        assert (await control(method, path, body))[0] == code


async def test_a_world_at_rest_has_no_truth_to_tell(caller: Caller) -> None:
    async with caller.session.get(f"{caller.simulator.url}/_control/truth/Bill") as response:
        assert response.status == 404
