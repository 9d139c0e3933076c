from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import structlog
from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.test_utils import TestServer

from streamer.errors import (
    AccessRefusedError,
    AddRejectedError,
    MewsUnavailableError,
    NotAskedError,
    RateLimitedError,
    RetriableError,
    StreamerError,
)
from streamer.mews.api import MewsApi
from streamer.mews.client import api_session
from streamer.mews.limits import RequestLimit
from streamer.model import ConnectionName, EntityType, ExportId, ExportStatus, Secret
from tests.unit.mews.virtual_clock import VirtualClock

CLIENT_TOKEN, ACCESS_TOKEN = "canary-client-token", "canary-access-token"
DATE = "Sun, 22 Nov 2026 09:00:00 GMT"


def export_json(export_id: str, status: str = "Pending") -> dict[str, Any]:
    return {"Id": export_id, "Status": status, "EntityType": "Reservation", "Files": [], "ExpiresUtc": None}


class Platform:
    """Answers each call with the next of ``answers``, or as well as it can."""

    def __init__(self) -> None:
        self.answers: list[web.Response | Callable[[web.Request], Awaitable[web.StreamResponse]]] = []
        self.unknown: set[str] = set()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.server = TestServer(web.Application())
        self.server.app.router.add_route("*", "/{path:.*}", self._answer)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/"))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.calls.append((request.path, body))
        self.headers.append(dict(request.headers))
        if self.answers:
            answer = self.answers.pop(0)
            return answer if isinstance(answer, web.Response) else await answer(request)
        if request.path.endswith("/add"):
            return web.json_response({"Export": export_json("e1")}, headers={"Date": DATE})
        if self.unknown & set(body["ExportIds"]):
            return web.json_response({"Message": "Invalid ExportIds"}, status=400)
        listed = [export_json(i, "Success") for i in body["ExportIds"] if not i.startswith("missing")]
        return web.json_response({"Exports": listed})


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    platform = Platform()
    await platform.server.start_server()
    yield platform
    await platform.server.close()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with api_session("1.2.3") as session:
        yield session


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def an_api(session: ClientSession, url: str, clock: VirtualClock) -> MewsApi:
    return MewsApi(
        session=session,
        connection=ConnectionName("alpine"),
        platform_url=url,
        client_token=Secret(CLIENT_TOKEN),
        access_token=Secret(ACCESS_TOKEN),
        client="streamer 1.2.3",
        limit=RequestLimit(clock=clock, sleep=clock.sleep, random=lambda: 1.0),
        clock=clock,
    )


@pytest.fixture
def api(session: ClientSession, platform: Platform, clock: VirtualClock) -> MewsApi:
    return an_api(session, platform.url, clock)


Call = Callable[[MewsApi], Awaitable[object]]


async def call_add(api: MewsApi) -> object:
    return await api.add(EntityType.RESERVATION)


async def call_get_all(api: MewsApi) -> object:
    return await api.get_all([ExportId("e1")])


both = pytest.mark.parametrize("call", [call_add, call_get_all])


async def test_a_snapshot_is_asked_for_with_the_four_documented_fields_and_no_more(
    api: MewsApi, platform: Platform
) -> None:
    export = (await api.add(EntityType.ORDER_ITEM)).export
    assert (export.id, export.status) == ("e1", ExportStatus.PENDING)
    assert platform.calls == [
        (
            "/api/connector/v1/exports/add",
            {
                "ClientToken": CLIENT_TOKEN,
                "AccessToken": ACCESS_TOKEN,
                "Client": "streamer 1.2.3",
                "EntityType": "OrderItem",
            },
        )
    ]
    assert platform.headers[0]["Content-Type"] == "application/json"
    assert platform.headers[0]["User-Agent"] == "streamer/1.2.3"
    assert not {"Cookie", "Authorization"} & set(platform.headers[0])


async def test_all_exports_are_asked_for_in_one_call(api: MewsApi, platform: Platform) -> None:
    found = await api.get_all([ExportId("a"), ExportId("missing"), ExportId("b")])
    assert set(found) == {"a", "b"}
    assert {e.status for e in found.values()} == {ExportStatus.SUCCESS}
    assert [body["ExportIds"] for _, body in platform.calls] == [["a", "missing", "b"]]


@pytest.mark.parametrize(("count", "calls"), [(0, []), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])])
async def test_no_call_carries_over_a_thousand_ids(
    api: MewsApi, platform: Platform, count: int, calls: list[int]
) -> None:
    ids = [ExportId(f"e{n}") for n in range(count)]
    assert list(await api.get_all(ids)) == ids
    assert [len(body["ExportIds"]) for _, body in platform.calls] == calls


async def test_one_rejected_id_does_not_hide_the_others(api: MewsApi, platform: Platform) -> None:
    platform.unknown = {"gone"}
    assert set(await api.get_all([ExportId("a"), ExportId("gone"), ExportId("b")])) == {"a", "b"}


async def test_a_single_rejected_id_is_absent(api: MewsApi, platform: Platform) -> None:
    platform.unknown = {"gone"}
    assert await api.get_all([ExportId("gone")]) == {}


async def test_an_empty_answer_to_get_all_is_tolerated(api: MewsApi, platform: Platform) -> None:
    platform.answers = [web.Response(status=204)]
    assert await api.get_all([ExportId("a")]) == {}


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_a_rejected_request_carries_mews_own_words(api: MewsApi, platform: Platform, status: int) -> None:
    body = {"Message": f"Export is already\nrunning for {ACCESS_TOKEN} {'x' * 1000}", "Details": {"a": 1}}
    platform.answers = [web.json_response(body, status=status, headers={"Request-Id": "req-7"})]
    with pytest.raises(AddRejectedError, match=r"Export is already running for \*\*\* x+… \(Request-Id req-7\)"):
        await api.add(EntityType.BILL)


@both
@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_refusal_needs_a_person(api: MewsApi, platform: Platform, call: Call, status: int) -> None:
    platform.answers = [web.json_response({"Message": "Invalid token"}, status=status, headers={"Request-Id": "req-7"})]
    with pytest.raises(AccessRefusedError, match=f"Invalid token.*{status}.*req-7"):
        await call(api)


@both
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520])
async def test_a_fault_of_mews_is_worth_another_attempt(
    api: MewsApi, platform: Platform, call: Call, status: int
) -> None:
    platform.answers = [web.Response(status=status, text="<html>", headers={"Retry-After": "9"})]
    with pytest.raises(MewsUnavailableError, match=str(status)) as caught:
        await call(api)
    assert caught.value.retry_after == 9


@both
@pytest.mark.parametrize("status", [200, 400])
async def test_a_page_instead_of_json_is_no_answer(api: MewsApi, platform: Platform, call: Call, status: int) -> None:
    platform.answers = [web.Response(status=status, text="<html>maintenance</html>", content_type="text/html")]
    with pytest.raises(MewsUnavailableError):
        await call(api)


@pytest.mark.parametrize(
    "answer",
    [(200, b""), (204, b""), (200, b"{}"), (200, b'{"Export":null}'), (200, b"<html>"), (500, b""), (408, b"")],
)
async def test_an_add_without_a_usable_answer_may_have_been_accepted(
    api: MewsApi, platform: Platform, answer: tuple[int, bytes]
) -> None:
    platform.answers = [web.Response(status=answer[0], body=answer[1])]
    with pytest.raises(MewsUnavailableError, match="may have been accepted"):
        await api.add(EntityType.BILL)


@both
async def test_an_answer_cut_off_is_no_answer(api: MewsApi, platform: Platform, call: Call) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    platform.answers = [cut]
    with pytest.raises(MewsUnavailableError):
        await call(api)
    assert len(platform.calls) == 1


@both
async def test_an_answer_that_does_not_come_in_time_is_no_answer(
    platform: Platform, clock: VirtualClock, call: Call
) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    platform.answers = [never]
    async with ClientSession(timeout=ClientTimeout(total=0.05)) as session:
        with pytest.raises(MewsUnavailableError, match="no answer in time"):
            await call(an_api(session, platform.url, clock))


@both
@pytest.mark.parametrize(
    ("status", "error"),
    [(301, AccessRefusedError), (308, AccessRefusedError)]
    + [(status, MewsUnavailableError) for status in (302, 303, 307)],
)
async def test_tokens_follow_no_redirect(
    api: MewsApi, platform: Platform, call: Call, status: int, error: type[StreamerError]
) -> None:
    platform.answers = [web.Response(status=status, headers={"Location": "/elsewhere"})]
    with pytest.raises(error):
        await call(api)
    assert len(platform.calls) == 1


async def test_a_429_holds_back_every_call_of_the_token(api: MewsApi, platform: Platform, clock: VirtualClock) -> None:
    platform.answers = [web.Response(status=429, headers={"Retry-After": "20"})]
    with pytest.raises(RateLimitedError) as caught:
        await api.add(EntityType.BILL)
    assert caught.value.retry_after == 20
    await api.get_all([ExportId("a")])
    assert clock.slept == [20]


async def test_a_429_may_name_a_date(api: MewsApi, platform: Platform) -> None:
    headers = {"Retry-After": "Sun, 22 Nov 2026 09:00:31 GMT", "Date": DATE}
    platform.answers = [web.Response(status=429, headers=headers)]
    with pytest.raises(RateLimitedError) as caught:
        await api.get_all([ExportId("a")])
    assert caught.value.retry_after == 31


async def test_an_add_that_can_not_leave_in_time_does_not_leave_at_all(api: MewsApi, platform: Platform) -> None:
    platform.answers = [web.Response(status=429, headers={"Retry-After": "20"})]
    with pytest.raises(RateLimitedError):
        await api.get_all([ExportId("a")])
    with pytest.raises(NotAskedError):
        await api.add(EntityType.BILL, within=5)
    assert len(platform.calls) == 1


async def test_the_servers_clock_goes_on_from_its_latest_answer(api: MewsApi, clock: VirtualClock) -> None:
    assert api.server_now is None
    await api.add(EntityType.BILL)
    assert api.server_now == datetime(2026, 11, 22, 9, tzinfo=UTC)
    clock.now += 90.5
    assert api.server_now == datetime(2026, 11, 22, 9, tzinfo=UTC) + timedelta(seconds=90.5)


async def test_each_answer_is_logged_with_its_request_id(api: MewsApi, platform: Platform) -> None:
    platform.answers = [web.json_response({"Exports": []}, headers={"Request-Id": "req-7"})]
    with structlog.testing.capture_logs() as logs:
        await api.get_all([ExportId("a")])
    assert [(log["event"], log["log_level"], log["request_id"], log["connection"]) for log in logs] == [
        ("mews_answered", "debug", "req-7", "alpine")
    ]


@asynccontextmanager
async def all_that_is_told(caplog: pytest.LogCaptureFixture) -> AsyncIterator[list[str]]:
    told: list[str] = []
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs:
        yield told
    told += [repr(log) for log in logs] + [record.getMessage() for record in caplog.records]


async def test_no_token_is_told_to_anybody(api: MewsApi, platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    echo = {"Message": f"{CLIENT_TOKEN} {ACCESS_TOKEN}", "Details": ACCESS_TOKEN}
    statuses = [200, 301, 302, 400, 401, 403, 404, 408, 409, 410, 418, 429, 500]
    async with all_that_is_told(caplog) as told:
        for call in (call_add, call_get_all):
            for status in statuses:
                platform.answers = [web.json_response(echo, status=status, headers={"Location": f"/{ACCESS_TOKEN}"})]
                try:
                    await call(api)
                except StreamerError as error:
                    chain: BaseException | None = error
                    while chain is not None:
                        told.append(repr(chain) + repr(vars(chain)))
                        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    assert len(told) >= 2 * len(statuses)
    assert not [text for text in told if "canary" in text]


def test_the_errors_after_which_an_export_may_exist_are_told_apart() -> None:
    assert not issubclass(AddRejectedError, RetriableError)
    assert not issubclass(RateLimitedError, MewsUnavailableError)


async def test_an_answer_without_end_is_not_kept(
    api: MewsApi, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.mews.api.LONGEST_ANSWER_BYTES", 1000)
    platform.answers = [web.Response(body=msgspec.json.encode({"Exports": [], "x": "y" * 2000}))]
    with pytest.raises(MewsUnavailableError, match="over 1000 bytes"):
        await api.get_all([ExportId("a")])


async def test_an_answer_ends_the_growth_of_waits_after_429(
    api: MewsApi, platform: Platform, clock: VirtualClock
) -> None:
    for _ in range(2):
        platform.answers = [web.Response(status=429)]
        with pytest.raises(RateLimitedError) as caught:
            await api.get_all([ExportId("a")])
        assert caught.value.retry_after == 2
        await api.get_all([ExportId("a")])
