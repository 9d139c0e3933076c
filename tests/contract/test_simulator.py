"""The simulator as a client sees it: what the API promises, and what each fault does to it."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
import pytest
import yarl

from streamer.sandbox import faults
from streamer.sandbox.exports import Status
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


async def becomes_true(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never did")


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> SimulatorSettings:
    return getattr(request, "param", SETTINGS)


@pytest.fixture
async def caller(settings: SimulatorSettings) -> AsyncIterator[Caller]:
    async with (
        Simulator(settings, clock=lambda: START) as simulator,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
    ):
        yield Caller(simulator, session)


# -- exports -----------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("how", ["cut", "no_id", "not_utf8"])
async def test_a_line_is_no_good_to_order(caller: Caller, how: str) -> None:
    caller.simulator.set_data("Bill", [b'{"Id":"a"}\n{"Id":"b"}\n', b'{"Id":"c"}\n'])
    caller.fault("add", faults.SpoilLine(how=how, file_index=1))  # type: ignore[arg-type]
    export = await caller.ready()
    first, second = (b"".join(file.read(0, file.size)) for file in caller.simulator.export(export["Id"]).files)
    assert first == b'{"Id":"a"}\n{"Id":"b"}\n'
    assert second != b'{"Id":"c"}\n'
    assert [file["SizeInBytes"] for file in export["Files"]] == [len(first), len(second)]


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


# -- strictness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "exports/add"),
        ("PUT", "exports/add"),
        ("POST", "exports/add/"),
        ("POST", "exports/Add"),
        ("POST", "exports/getall"),
        ("POST", "exports"),
    ],
)
async def test_only_the_two_operations_are_there_and_only_for_post(caller: Caller, method: str, path: str) -> None:
    url = f"{caller.simulator.url}/api/connector/v1/{path}"
    async with caller.session.request(method, url, json={}) as response:
        assert response.status == 404
        assert set(await response.json()) == {"Message", "RequestId", "Details"}


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json", b"{,}", "Invalid JSON"),
        ("application/json", b"[]", "Invalid JSON"),
        ("text/plain", b"{}", "Invalid Content-Type"),
        ("application/json", b"{}", "Invalid ClientToken"),
    ],
)
async def test_a_body_that_is_no_request_is_refused(
    caller: Caller, content_type: str, body: bytes, message: str
) -> None:
    url = f"{caller.simulator.url}/api/connector/v1/exports/add"
    async with caller.session.post(url, data=body, headers={"Content-Type": content_type}) as response:
        answer = await response.json()
        assert (response.status, answer["Message"]) == (400, message)
        assert response.headers["Request-Id"] == answer["RequestId"]


@pytest.mark.parametrize("wrong", ["ClientToken", "AccessToken"])
async def test_wrong_tokens_are_refused(caller: Caller, wrong: str) -> None:
    assert (await caller.call("add", EntityType="Bill", **{wrong: "wrong"}))[0] == 401


async def test_more_than_two_hundred_requests_of_a_token_in_thirty_seconds_are_too_many(caller: Caller) -> None:
    export = await caller.add()
    for _ in range(199):
        await caller.get(export["Id"])
    caller.simulator.advance(10)
    status, _, response = await caller.call("getAll", ExportIds=[export["Id"]])
    assert (status, response.headers["Retry-After"]) == (429, "21")
    await caller.add(AccessToken="second-token")
    caller.simulator.advance(20)
    await caller.get(export["Id"])


async def test_every_answer_is_dated_by_the_simulators_clock(caller: Caller) -> None:
    caller.simulator.advance(3600)
    _, _, response = await caller.call("getAll", ExportIds=[])
    assert parsedate_to_datetime(response.headers["Date"]) == START + timedelta(hours=1)
    assert response.headers["Request-Id"]


# -- downloads ---------------------------------------------------------------------------------------------------------


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


# -- faults of the two operations --------------------------------------------------------------------------------------


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


# -- faults of downloads -----------------------------------------------------------------------------------------------


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


# -- the control endpoint ----------------------------------------------------------------------------------------------


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


# -- the process -------------------------------------------------------------------------------------------------------


async def test_the_process_says_where_it_listens_and_ends_at_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from streamer.sandbox.simulator_command import simulator; simulator()"),
        *("--entities", "LedgerEntry=5", "--entities", "7", "--pending-seconds", "0", "--processing-seconds", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    url = json.loads(await process.stdout.readline())["url"]
    async with aiohttp.ClientSession() as session:
        body = {"ClientToken": "demo-client-token", "AccessToken": "demo-access-token", "Client": "tests 1.0"}
        async with session.post(f"{url}/api/connector/v1/exports/add", json=body | {"EntityType": "Bill"}) as response:
            assert (await response.json())["Export"]["Status"] == "Success"
        async with session.get(f"{url}/_control/state") as response:
            assert (await response.json())["exports"][0]["lines"] == 7
    process.terminate()
    rest, log = await process.communicate()
    assert (process.returncode, rest) == (0, b"")
    assert b"export_added" in log
    assert b"demo-access-token" not in log
    assert b"sig=" not in log
