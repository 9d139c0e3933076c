"""Faults of the file host that take more than a table: links that run out, and files that are not what was told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamer.mews.client import file_session
from streamer.sandbox import faults
from streamer.sandbox.faults import FaultRule
from tests.brokers import Kafka
from tests.replica import see
from tests.stage import (
    FILES,
    LINES,
    MIDDLE,
    WHOLE,
    quick_waits,
    stage,
    together,
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with quick_waits():
        yield


# --- files ----------------------------------------------------------------------------------------------------


async def test_a_link_that_has_run_out_by_the_time_a_download_breaks_is_replaced(kafka: Kafka, prefix: str) -> None:
    rules = together(faults.Hold(at_byte=MIDDLE), faults.Cut(at_byte=MIDDLE))
    with pytest.MonkeyPatch.context() as patch:
        # Held for as long as the test likes: no stall.
        patch.setattr("streamer.service.streams.file_session", file_session)
        async with stage(kafka, prefix, rules=rules) as on:
            await on.simulator.held()
            on.simulator.advance(660)
            on.simulator.release()
            await on.replica.completed()
            seen = await on.see()
            on.struck()
            assert on.replica.metric("retries_total", reason="LinkRefusedError") == 1.0
    assert seen.told() == WHOLE


@pytest.mark.parametrize("by", [-7, 7])
async def test_a_file_of_another_length_than_announced_fails_and_the_next_export_completes(
    kafka: Kafka, prefix: str, by: int
) -> None:
    rules = [FaultRule(on="get_all", action=faults.SizeMismatch(by=by), times=None)]
    async with stage(kafka, prefix, rules=rules) as on:
        await on.replica.until(lambda: on.replica.row()["failures"] > 0, "a failed export")
        on.simulator.clear_faults()
        await on.replica.completed()
        seen = await on.see()
    failed = [event["reason"] for event in seen.events() if event["event"] == "export_failed"]
    announced = len(FILES[0]) + by
    assert failed[0] == f"size mismatch: {announced} bytes announced, {len(FILES[0])} served"
    assert seen.told()[:3] == ["export_requested", "export_ready", "export_failed"]
    assert seen.told()[-len(WHOLE) :] == WHOLE


async def test_a_file_of_another_length_is_accepted_where_that_is_wanted(kafka: Kafka, prefix: str) -> None:
    rules = [FaultRule(on="get_all", action=faults.SizeMismatch(by=7), times=None)]
    async with stage(kafka, prefix, rules=rules, exports={"size_mismatch": "accept"}) as on:
        await on.replica.completed()
        seen = await see(kafka.bootstrap_servers, prefix)
        on.struck()
    assert seen.told() == WHOLE
    assert seen.completed()["records"] == len(seen.entities()) == LINES
    assert seen.completed()["bytes"] == sum(map(len, FILES))
