"""What is no proper request is refused, and every answer is dated."""

from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest

from tests.contract.simulator.caller import START, Caller


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
