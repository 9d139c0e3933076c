"""Exports as the API promises them: from the request to the files, and what is refused."""

import json

import pytest

from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.contract.simulator.caller import Caller


async def test_an_export_goes_from_pending_to_expired(caller: Caller) -> None:
    export = await caller.add()
    empty = {"EnterpriseIds": None, "ChainIds": None}
    assert export == {
        "Id": export["Id"],
        "Status": "Pending",
        "EntityType": "Bill",
        "Scope": empty,
        "Files": [],
        "ExpiresUtc": None,
        "Filters": None,
    }
    caller.simulator.advance(10)
    assert (await caller.get(export["Id"]))["Status"] == "Processing"
    caller.simulator.advance(20)
    done = await caller.get(export["Id"])
    assert (done["Status"], len(done["Files"]), done["ExpiresUtc"]) == ("Success", 2, "2026-05-08T12:00:30Z")
    caller.simulator.advance(7 * 86_400)
    over = await caller.get(export["Id"])
    assert (over["Status"], over["Files"]) == ("Expired", [])


async def test_the_files_hold_as_many_bytes_and_lines_as_they_say(caller: Caller) -> None:
    export, content = await caller.ready("Customer"), b""
    for file in export["Files"]:
        async with caller.fetch(file["Url"]) as response:
            data = await response.read()
        assert len(data) == file["SizeInBytes"] == response.content_length
        content += data
    assert len({json.loads(line)["Id"] for line in content[:-1].split(b"\n")}) == 1000
    assert caller.simulator.state()["file_bytes_sent"] == len(content)


async def test_scope_and_filters_come_back_as_they_were_sent(caller: Caller) -> None:
    scope = {"EnterpriseIds": ["0d2f1c9e-7b8a-4c3d-9e21-6f5a4b3c2d1e"], "ChainIds": None}
    updated = {"StartUtc": "2026-04-30T12:00:00Z", "EndUtc": "2026-05-01T11:55:00Z"}
    filters = {"UpdatedUtc": updated, "LedgerEntryFilters": None}
    export = await caller.add("Bill", Scope=scope, Filters=filters)
    assert (export["Scope"], export["Filters"]) == (scope, filters)


async def test_one_export_of_a_type_runs_at_a_time_for_each_token(caller: Caller) -> None:
    await caller.add("Bill")
    status, answer, _ = await caller.call("add", EntityType="Bill")
    assert (status, answer["Message"]) == (400, "Export for the entity type is already running.")
    await caller.add("Payment")
    await caller.add("Bill", AccessToken="second-token")
    caller.simulator.advance(30)
    await caller.add("Bill")


async def test_ids_that_are_unknown_or_of_another_token_are_left_out(caller: Caller) -> None:
    export = await caller.add(AccessToken="second-token")
    ids = [export["Id"], "0d2f1c9e-7b8a-4c3d-9e21-6f5a4b3c2d1e"]
    assert (await caller.call("getAll", ExportIds=ids))[1] == {"Exports": []}


@pytest.mark.parametrize("settings", [SimulatorSettings(unknown_ids="refused")], indirect=True)
async def test_unknown_ids_are_refused_where_that_is_the_mode(caller: Caller) -> None:
    status, answer, _ = await caller.call("getAll", ExportIds=["0d2f1c9e-7b8a-4c3d-9e21-6f5a4b3c2d1e"])
    assert (status, answer["Message"]) == (400, "Invalid ExportIds")


@pytest.mark.parametrize("settings", [SimulatorSettings(filters_refused=True)], indirect=True)
async def test_filters_are_refused_where_that_is_the_mode(caller: Caller) -> None:
    updated = {"StartUtc": "2026-04-30T12:00:00Z", "EndUtc": "2026-05-01T11:00:00Z"}
    status, answer, _ = await caller.call("add", EntityType="Bill", Filters={"UpdatedUtc": updated})
    assert (status, answer["Message"]) == (400, "Invalid Filters.UpdatedUtc")


async def test_given_data_is_what_the_next_exports_have(caller: Caller) -> None:
    caller.simulator.set_data("Bill", [b"\xff\n", b""])
    export = await caller.ready()
    assert [file["SizeInBytes"] for file in export["Files"]] == [2, 0]
    for file, expected in zip(export["Files"], (b"\xff\n", b""), strict=True):
        async with caller.fetch(file["Url"]) as response:
            assert await response.read() == expected
    caller.simulator.set_data("Bill", [])
    empty = await caller.ready()
    assert (empty["Status"], empty["Files"]) == ("Success", [])
    caller.simulator.clear_data("Bill")
    assert len((await caller.ready())["Files"]) == 2
