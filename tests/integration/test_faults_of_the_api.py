"""Faults of Mews' API that take more than a table: what blocks, what refuses, and what asks for patience."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest

from streamer.core.backoff import BackoffPolicy
from streamer.model import PUBLIC_ENTITY_TYPES
from streamer.sandbox import faults
from streamer.sandbox.exports import Status
from streamer.sandbox.faults import Action, FaultRule
from tests.brokers import Kafka
from tests.stage import (
    CUSTOMER,
    RESERVATION,
    WHOLE,
    Stage,
    WatchedSimulator,
    on_file,
    quick_waits,
    stage,
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with quick_waits():
        yield


# --- asking for an export -------------------------------------------------------------------------------------


def _ask_for_another(on: WatchedSimulator) -> str:
    """Somebody else asks Mews for an export of the same type with the same token."""
    settings = on.settings
    body = {
        "ClientToken": settings.client_token,
        "AccessToken": settings.access_tokens[0],
        "Client": "somebody else",
        "EntityType": RESERVATION.value,
    }
    return on.api.add(body, on.now(), on.machine()).id


async def test_somebody_elses_export_blocks_ours_until_it_ends(kafka: Kafka, prefix: str) -> None:
    rules = [FaultRule(on="add", action=faults.Hold(before=True))]
    async with stage(kafka, prefix, rules=rules, simulator={"pending_seconds": 600.0}) as on:
        await on.simulator.held()
        theirs = _ask_for_another(on.simulator)
        on.simulator.release()
        await on.replica.until(lambda: on.simulator.requests["add"] >= 3, "being refused three times")
        row = on.replica.row()
        assert "already running" in row["error"]
        assert (row["phase"], row["cycle"]) == ("requesting", 1)
        assert row["export"]["blocked_since"] is not None
        on.simulator.set_status(theirs, Status.SUCCESS)
        await on.replica.until(lambda: len(on.simulator.api.exports) == 2, "an export of our own")
        await _let_succeed(on)
        await on.replica.completed()
        seen = await on.see()
        on.struck()
    assert seen.told() == ["export_blocked", *WHOLE]
    blocked = seen.events()[0]
    assert blocked["export_id"] is None
    assert "already running" in blocked["reason"]


async def test_an_export_whose_id_was_lost_is_waited_out_and_never_published(kafka: Kafka, prefix: str) -> None:
    rules = [FaultRule(on="add", action=faults.Lost())]
    async with stage(kafka, prefix, rules=rules, simulator={"pending_seconds": 600.0}) as on:
        await on.replica.until(lambda: on.simulator.requests["add"] >= 3, "being refused by what is probably ours")
        (lost,) = on.simulator.api.exports
        on.simulator.set_status(lost, Status.SUCCESS)
        await on.replica.until(lambda: len(on.simulator.api.exports) == 2, "a second export")
        await _let_succeed(on)
        await on.replica.completed()
        assert on.replica.row()["cycle"] == 1
        seen = await on.see()
        on.struck()
    assert seen.told() == ["export_blocked", *WHOLE]
    assert seen.completed()["export_id"] != lost
    assert not [record for record in seen.entities() if record.header("ce_id").startswith(lost)]


async def _let_succeed(on: Stage) -> None:
    for export_id in on.simulator.api.exports:
        on.simulator.set_status(export_id, Status.SUCCESS)


async def test_a_400_that_never_ends_stops_the_stream_with_its_message(kafka: Kafka, prefix: str) -> None:
    rules = [FaultRule(on="add", action=faults.Status(code=400, message="Not for this enterprise."), times=None)]
    exports = {"blocked_limit": timedelta(milliseconds=300)}
    async with stage(kafka, prefix, rules=rules, exports=exports) as on:
        row = await on.replica.phase("stopped")
        assert "blocked for too long: Not for this enterprise." in row["error"]
        assert on.replica.metric("stream_stopped") == 1.0
        seen = await on.see()
    assert seen.told() == ["export_blocked"]


async def test_streams_that_are_refused_stop_with_what_mews_said_and_the_others_go_on(
    kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = dict(zip((401, 403, 404, 410, 301), PUBLIC_ENTITY_TYPES, strict=False))
    other = PUBLIC_ENTITY_TYPES[-1]
    rules = [
        FaultRule(on="add", action=faults.Status(code=code, message=f"No, {code}."), entity_type=kind, times=None)
        for code, kind in codes.items()
    ]
    async with stage(kafka, prefix, *codes.values(), other, rules=rules) as on:
        await on.replica.completed(other)
        for code, kind in codes.items():
            row = await on.replica.phase("stopped", kind)
            assert ("moved to another address" if code == 301 else f"No, {code}.") in row["error"]
            await on.replica.until(
                lambda kind=kind: on.replica.metric("stream_stopped", kind) == 1.0,  # type: ignore[misc]
                "the alarm",
            )
        assert on.replica.metric("stream_stopped", other) == 0.0
        seen = await on.see()
    assert seen.told(other) == WHOLE
    for kind in codes.values():
        assert seen.told(kind) == []


async def test_a_stopped_stream_looks_again_by_itself_and_goes_on_where_it_was(
    kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.service.stream.LOOK_AGAIN", timedelta(milliseconds=300))
    rules = [
        FaultRule(on="add", action=faults.Status(code=401)),
        FaultRule(on="get_all", action=faults.Status(code=403), skip=1),
        *on_file(faults.Redirect(location="ftp://elsewhere.example/file")),
    ]
    async with stage(kafka, prefix, rules=rules) as on:
        await on.replica.completed()
        assert on.replica.row()["cycle"] == 1
        assert on.replica.metric("stream_stopped") == 0.0
        seen = await on.see()
        on.struck()
    assert seen.told() == WHOLE


async def test_a_link_to_another_scheme_is_not_followed_and_stops_the_stream(kafka: Kafka, prefix: str) -> None:
    rules = on_file(faults.Redirect(location="file:///etc/hostname?sig=c2VjcmV0"))
    async with stage(kafka, prefix, rules=rules) as on:
        row = await on.replica.phase("stopped")
        assert "a scheme other than https is not followed" in row["error"]
        assert "c2VjcmV0" not in str(on.replica.replica.rows())
        on.struck()


# --- polls ----------------------------------------------------------------------------------------------------


async def test_whatever_goes_wrong_with_a_poll_it_is_asked_again(kafka: Kafka, prefix: str) -> None:
    answers: list[Action] = [
        faults.Status(code=500),
        faults.Status(code=503, body="html"),
        faults.Status(code=200, body="html"),
        faults.Status(code=408, body="empty"),
        faults.NoContent(),
        faults.Reset(),
        faults.Lost(),
    ]
    rules = [FaultRule(on="get_all", action=action) for action in answers]
    async with stage(kafka, prefix, rules=rules) as on:
        await on.replica.completed()
        seen = await on.see()
        on.struck()
        assert on.replica.metric("retries_total", reason="MewsUnavailableError") == 6.0
    assert seen.told() == WHOLE


# --- 429 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_what", "refusal", "least"),
    [
        ("add", faults.Status(code=429, retry_after=1), 1.0),
        # A date in whole seconds, counted from another one: both of the same answer, so nothing is lost.
        ("get_all", faults.Status(code=429, retry_after=1, retry_after_date=True), 1.0),
        ("add", faults.Status(code=429, body="html"), 0.5),
    ],
    ids=["seconds", "date", "none"],
)
async def test_after_429_no_call_of_the_token_leaves_before_its_time(
    kafka: Kafka,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    on_what: faults.Operation,
    refusal: faults.Status,
    least: float,
) -> None:
    monkeypatch.setattr("streamer.mews.limits._BACKOFF", BackoffPolicy(base=1.0, ceiling=1.0))
    # Customer polls meanwhile: its calls have to hold back as well.
    rules = [
        FaultRule(on="get_all", action=faults.UnknownStatus(), entity_type=CUSTOMER, times=4),
        FaultRule(on=on_what, action=refusal, entity_type=RESERVATION),
    ]
    async with stage(kafka, prefix, RESERVATION, CUSTOMER, rules=rules) as on:
        await on.replica.completed(RESERVATION, CUSTOMER)
        calls = [at for at, operation in on.simulator.calls if operation != "file"]
        silences = [later - earlier for earlier, later in itertools.pairwise(calls)]
        assert max(silences) >= least - 0.05
        seen = await on.see()
        on.struck()
    assert seen.told(RESERVATION) == WHOLE
    assert seen.told(CUSTOMER) == WHOLE
