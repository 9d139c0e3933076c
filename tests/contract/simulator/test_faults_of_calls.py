"""What each fault does to the two operations of the API."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from streamer.sandbox import faults
from streamer.sandbox.faults import Action
from tests.contract.simulator.caller import START, Caller


async def becomes_true(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never did")


@pytest.mark.parametrize("how", ["cut", "no_id", "not_utf8"])
async def test_a_line_is_no_good_to_order(caller: Caller, how: str) -> None:
    caller.simulator.set_data("Bill", [b'{"Id":"a"}\n{"Id":"b"}\n', b'{"Id":"c"}\n'])
    caller.fault("add", faults.SpoilLine(how=how, file_index=1))  # type: ignore[arg-type]
    export = await caller.ready()
    first, second = (b"".join(file.read(0, file.size)) for file in caller.simulator.export(export["Id"]).files)
    assert first == b'{"Id":"a"}\n{"Id":"b"}\n'
    assert second != b'{"Id":"c"}\n'
    assert [file["SizeInBytes"] for file in export["Files"]] == [len(first), len(second)]


async def test_a_status_to_order_is_answered_without_processing(caller: Caller) -> None:
    caller.fault("add", faults.Status(code=503, retry_after=7))
    caller.fault("add", faults.Status(code=500, body="html"))
    caller.fault("add", faults.Status(code=429, retry_after=60, retry_after_date=True, body="empty"))
    status, answer, response = await caller.call("add", EntityType="Bill")
    assert (status, answer["Message"], response.headers["Retry-After"]) == (503, "Made to order.", "7")
    status, answer, response = await caller.call("add", EntityType="Bill")
    assert (status, response.content_type) == (500, "text/html")
    status, answer, response = await caller.call("add", EntityType="Bill")
    assert (status, answer) == (429, b"")
    assert parsedate_to_datetime(response.headers["Retry-After"]) == START + timedelta(minutes=1)
    assert caller.simulator.state()["exports"] == []
    await caller.add()


@pytest.mark.parametrize(("action", "exports"), [(faults.Lost(), 1), (faults.Reset(), 0)])
async def test_a_lost_answer_was_processed_and_a_reset_was_not(caller: Caller, action: Action, exports: int) -> None:
    caller.fault("add", action)
    with pytest.raises(aiohttp.ClientError):
        await caller.call("add", EntityType="Bill")
    assert len(caller.simulator.state()["exports"]) == exports


async def test_no_content_was_processed(caller: Caller) -> None:
    caller.fault("add", faults.NoContent())
    assert (await caller.call("add", EntityType="Bill"))[:2] == (204, b"")
    assert len(caller.simulator.state()["exports"]) == 1


async def test_a_held_answer_was_processed_and_comes_when_released(caller: Caller) -> None:
    caller.fault("add", faults.Hold())
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(caller.add())
        (held,) = await caller.simulator.held()
        assert (held.on, held.entity_type) == ("add", "Bill")
        assert caller.simulator.state()["exports"][0]["id"] == held.export_id
        assert caller.simulator.release(held.id) == 1
    assert call.result()["Id"] == held.export_id


async def test_a_request_held_before_processing_is_processed_although_its_client_left(caller: Caller) -> None:
    caller.fault("add", faults.Hold(before=True))
    call = asyncio.create_task(caller.add())
    await caller.simulator.held()
    call.cancel()
    await asyncio.sleep(0.05)
    assert caller.simulator.state()["exports"] == []
    caller.simulator.clear_faults()
    await becomes_true(lambda: bool(caller.simulator.state()["exports"]))


async def test_held_requests_of_clients_that_left_are_forgotten(caller: Caller) -> None:
    caller.fault("get_all", faults.Hold())
    export = await caller.add()
    call = asyncio.create_task(caller.get(export["Id"]))
    await caller.simulator.held()
    call.cancel()
    await becomes_true(lambda: not caller.simulator.state()["held"])
    with pytest.raises(TimeoutError):
        await caller.simulator.held(timeout=0.01)


async def test_answers_take_the_shapes_to_order(caller: Caller) -> None:
    caller.fault("add", faults.EarlyFiles())
    early = await caller.add()
    assert (early["Status"], len(early["Files"])) == ("Pending", 1)
    assert early["ExpiresUtc"]
    caller.simulator.advance(30)
    true = [file["SizeInBytes"] for file in (await caller.get(early["Id"]))["Files"]]

    async def shaped(action: Action, **rule: Any) -> dict[str, Any]:
        caller.fault("get_all", action, **rule)
        return await caller.get(early["Id"])

    def sizes(export: dict[str, Any]) -> list[int]:
        return [file["SizeInBytes"] for file in export["Files"]]

    extra = await shaped(faults.ExtraFields())
    assert "Flavour" in extra
    assert "Flavour" in extra["Files"][0]
    assert (await shaped(faults.UnknownStatus(status="Baking")))["Status"] == "Baking"
    assert (await shaped(faults.UnknownEntityType()))["EntityType"] == "SpaceElevator"
    assert sizes(await shaped(faults.SizeMismatch(by=5))) == [true[0] + 5, true[1] + 5]
    assert sizes(await shaped(faults.SizeMismatch(by=-1), file_index=1)) == [true[0], true[1] - 1]
    assert sizes(await shaped(faults.FewerFiles())) == true[:1]
    assert sizes(await shaped(faults.MoreFiles())) == [*true, true[1]]
    changed = await shaped(faults.ChangedFiles(size_by=1))
    assert sizes(changed) == [true[0] + 1, true[1] + 1]
    assert "-0-changed.jsonl?" in changed["Files"][0]["Url"]
    async with caller.fetch(changed["Files"][0]["Url"]) as response:
        assert response.status == 200
    assert sizes(await shaped(faults.FewerFiles(), entity_type="Payment")) == true


@pytest.mark.parametrize(("action", "status"), [(faults.FailExport(), "Failed"), (faults.ExpireExport(), "Expired")])
async def test_an_export_fails_or_expires_to_order(caller: Caller, action: Action, status: str) -> None:
    export = await caller.ready()
    caller.fault("get_all", action)
    for _ in range(2):
        over = await caller.get(export["Id"])
        assert (over["Status"], over["Files"]) == (status, [])
