"""A client that stops badly never ends whoever waits for it."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import NodeNotReadyError

from streamer.kafka.connection import stopped_within


async def fails(error: BaseException) -> None:
    raise error


async def test_a_client_that_stops_has_no_problem() -> None:
    assert await stopped_within(1.0, asyncio.sleep(0)) is None


async def test_the_cancelled_error_of_a_fetch_under_way_is_no_cancellation_of_ours() -> None:
    assert await stopped_within(1.0, fails(asyncio.CancelledError())) == "a request under way was cut off"


async def test_what_kafka_says_is_told() -> None:
    assert "NodeNotReady" in str(await stopped_within(1.0, fails(NodeNotReadyError())))


async def test_a_client_that_hangs_is_left_behind() -> None:
    assert await stopped_within(0.01, asyncio.sleep(60)) == "not stopped within 0.01 s"


async def test_a_cancellation_of_ours_is_one() -> None:
    waiting = asyncio.create_task(stopped_within(60.0, asyncio.sleep(60)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_defect_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await stopped_within(1.0, fails(ZeroDivisionError()))
