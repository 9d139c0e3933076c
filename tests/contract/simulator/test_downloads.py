"""Files as a client sees them: links, ranges, and how long they last."""

import asyncio

import pytest
import yarl

from streamer.sandbox.exports import Status
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.contract.simulator.caller import DATA, Caller


async def test_links_are_fresh_each_time_and_valid_for_ten_minutes(caller: Caller) -> None:
    first = await caller.ready_link()
    caller.simulator.advance(599)
    async with caller.fetch(first) as response:
        assert response.status == 200
    caller.simulator.advance(1)
    async with caller.fetch(first) as response:
        assert (response.status, response.content_type) == (403, "application/xml")
        assert b"<Code>AuthenticationFailed</Code>" in await response.read()
    export_id = caller.simulator.state()["exports"][0]["id"]
    second = (await caller.get(export_id))["Files"][0]["Url"]
    assert second != first
    async with caller.fetch(second) as response:
        assert await response.read() == DATA


async def test_a_link_rewritten_on_its_way_is_refused(caller: Caller) -> None:
    link = await caller.ready_link()
    rewritten = str(yarl.URL(link))
    assert rewritten != link
    async with caller.fetch(rewritten) as response:
        assert response.status == 403


@pytest.mark.parametrize("header", [{"Authorization": "Bearer x"}, {"X-Token": "demo-access-token"}])
async def test_a_download_that_carries_a_token_is_refused(caller: Caller, header: dict[str, str]) -> None:
    async with caller.fetch(await caller.ready_link(), **header) as response:
        assert response.status == 400


async def test_ranges_conditions_and_heads_are_served(caller: Caller) -> None:
    link = await caller.ready_link()
    async with caller.fetch(link, "HEAD") as response:
        assert (response.status, response.content_length) == (200, len(DATA))
        etag = response.headers["ETag"]
    async with caller.fetch(link, Range="bytes=300000-", If_Range=etag) as response:
        assert (response.status, await response.read()) == (206, DATA[300_000:])
        assert response.headers["Content-Range"] == f"bytes 300000-{len(DATA) - 1}/{len(DATA)}"
    async with caller.fetch(link, Range="bytes=300000-", If_Range='"other"') as response:
        assert (response.status, await response.read()) == (200, DATA)
    async with caller.fetch(link, Range=f"bytes={len(DATA)}-") as response:
        assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(DATA)}")


@pytest.mark.parametrize("settings", [SimulatorSettings(etags=False, entities=10)], indirect=True)
async def test_files_may_have_no_etag(caller: Caller) -> None:
    async with caller.fetch(await caller.ready_link()) as response:
        assert "ETag" not in response.headers


async def test_files_of_an_expired_export_are_gone(caller: Caller) -> None:
    link = await caller.ready_link()
    caller.simulator.set_status(caller.simulator.state()["exports"][0]["id"], Status.EXPIRED)
    async with caller.fetch(link) as response:
        assert response.status == 404


@pytest.mark.parametrize("settings", [SimulatorSettings(bytes_per_second=400_000)], indirect=True)
async def test_the_bandwidth_of_a_download_may_be_capped(caller: Caller) -> None:
    caller.simulator.set_data("Bill", [DATA[:100_000]])
    link = (await caller.ready())["Files"][0]["Url"]
    begun = asyncio.get_running_loop().time()
    async with caller.fetch(link) as response:
        await response.read()
    assert asyncio.get_running_loop().time() - begun > 0.2
