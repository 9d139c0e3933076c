"""What each fault does to a download."""

import asyncio

import aiohttp
import pytest
import yarl

from streamer.sandbox import faults
from streamer.sandbox.faults import Action
from tests.contract.simulator.caller import DATA, Caller


async def body_until_it_breaks(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()

    async def read() -> None:
        async for piece in response.content.iter_any():
            data.extend(piece)

    with pytest.raises(aiohttp.ClientPayloadError):
        await read()
    return bytes(data)


@pytest.mark.parametrize(("wanted", "start"), [(None, 0), ("bytes=1000-", 1000)])
@pytest.mark.parametrize("at_byte", [1000, 1001, 123_456, len(DATA) - 1])
async def test_a_cut_is_made_at_the_very_byte(caller: Caller, at_byte: int, wanted: str | None, start: int) -> None:
    caller.fault("file", faults.Cut(at_byte=at_byte))
    async with caller.fetch(await caller.ready_link(), **{"Range": wanted} if wanted else {}) as response:
        assert await body_until_it_breaks(response) == DATA[start:at_byte]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_short_body_ends_as_if_it_were_whole(caller: Caller, chunked: bool) -> None:
    caller.fault("file", faults.Short(at_byte=123_456, chunked=chunked))
    async with caller.fetch(await caller.ready_link()) as response:
        assert response.content_length == (None if chunked else 123_456)
        assert await response.read() == DATA[:123_456]


@pytest.mark.parametrize("action", [faults.Stall(at_byte=77_777), faults.Hold(at_byte=77_777)])
async def test_a_download_stalls_at_the_very_byte_until_released(caller: Caller, action: Action) -> None:
    caller.fault("file", action)
    async with caller.fetch(await caller.ready_link()) as response:
        assert await response.content.readexactly(77_777) == DATA[:77_777]
        (held,) = await caller.simulator.held()
        assert (held.on, held.file_index) == ("file", 0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), 0.05)
        caller.simulator.release()
        assert await response.read() == DATA[77_777:]


async def test_a_held_download_has_no_first_byte(caller: Caller) -> None:
    caller.fault("file", faults.Hold())
    link = await caller.ready_link()
    async with asyncio.TaskGroup() as tasks:
        fetching = tasks.create_task(caller.fetch(link).__aenter__())
        await caller.simulator.held()
        assert not fetching.done()
        caller.simulator.release()
    assert await fetching.result().read() == DATA


async def test_a_dripping_download_comes_whole_in_the_end(caller: Caller) -> None:
    caller.fault("file", faults.Drip(bytes_per_second=5_000_000))
    async with caller.fetch(await caller.ready_link()) as response:
        assert await response.read() == DATA


@pytest.mark.parametrize(
    ("action", "status"), [(faults.FailExport(at_byte=5000), "Failed"), (faults.ExpireExport(at_byte=5000), "Expired")]
)
async def test_an_export_ends_half_way_through_a_download(caller: Caller, action: Action, status: str) -> None:
    caller.fault("file", action)
    async with caller.fetch(await caller.ready_link()) as response:
        assert await body_until_it_breaks(response) == DATA[:5000]
    assert caller.simulator.state()["exports"][0]["status"] == status


async def test_headers_lie_to_order(caller: Caller) -> None:
    link = await caller.ready_link()
    caller.fault("file", faults.IgnoreRange())
    async with caller.fetch(link, Range="bytes=9-") as response:
        assert (response.status, await response.read()) == (200, DATA)
    caller.fault("file", faults.WrongContentRange(by=-2))
    async with caller.fetch(link, Range="bytes=9-") as response:
        assert (response.status, await response.read()) == (206, DATA[7:])
        assert response.headers["Content-Range"].startswith("bytes 7-")
    caller.fault("file", faults.NoEtag())
    async with caller.fetch(link) as response:
        assert "ETag" not in response.headers
    caller.fault("file", faults.ChangedEtag())
    async with caller.fetch(link) as changed, caller.fetch(link) as usual:
        assert changed.headers["ETag"] != usual.headers["ETag"]


async def test_gzip_comes_unasked(caller: Caller) -> None:
    caller.fault("file", faults.Gzip())
    link = yarl.URL(await caller.ready_link(), encoded=True)
    async with caller.session.get(link, headers={"Accept-Encoding": "identity"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == DATA


async def test_redirects_lead_to_another_valid_link_or_anywhere(caller: Caller) -> None:
    link = await caller.ready_link()
    caller.fault("file", faults.Redirect())
    async with caller.fetch(link) as response:
        assert response.status == 307
        location = response.headers["Location"]
    assert location != link
    async with caller.fetch(location) as response:
        assert await response.read() == DATA
    caller.fault("file", faults.Redirect(location="http://elsewhere.example/", code=302))
    async with caller.fetch(link) as response:
        assert (response.status, response.headers["Location"]) == (302, "http://elsewhere.example/")


async def test_a_link_is_refused_and_a_status_answered_to_order(caller: Caller) -> None:
    link = await caller.ready_link()
    caller.fault("file", faults.LinkExpired())
    caller.fault("file", faults.Status(code=503))
    statuses = []
    for _ in range(3):
        async with caller.fetch(link) as response:
            statuses.append(response.status)
    assert statuses == [403, 503, 200]


@pytest.mark.parametrize("action", [faults.Lost(), faults.Reset()])
async def test_a_download_may_get_no_answer_at_all(caller: Caller, action: Action) -> None:
    link = await caller.ready_link()
    caller.fault("file", action, times=None)
    with pytest.raises(aiohttp.ClientError):
        async with caller.fetch(link):
            pass
