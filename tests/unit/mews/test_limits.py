from __future__ import annotations

import asyncio
from bisect import bisect_left

import pytest

from streamer.errors import NotAskedError
from streamer.mews.limits import RequestLimit
from tests.unit.mews.virtual_clock import VirtualClock


def a_limit(clock: VirtualClock, *, requests: int = 150, window: float = 30.0) -> RequestLimit:
    return RequestLimit(clock=clock, sleep=clock.sleep, random=lambda: 1.0, requests=requests, window=window)


async def test_no_thirty_seconds_ever_see_more_calls_than_allowed() -> None:
    clock = VirtualClock()
    limit = a_limit(clock)
    left: list[float] = []
    for number in range(1000):
        await limit.admit()
        left.append(clock.now)
        clock.now += 0.1 if number % 7 else 1.3
    for before, start in enumerate(left):
        assert bisect_left(left, start + 30) - before <= 150


async def test_calls_below_the_limit_do_not_wait() -> None:
    clock = VirtualClock()
    limit = a_limit(clock)
    for _ in range(150):
        await limit.admit()
    assert clock.slept == []
    await limit.admit()
    assert clock.slept == [30.0]


async def test_calls_leave_in_the_order_in_which_they_came() -> None:
    clock = VirtualClock()
    limit = a_limit(clock, requests=1)
    order: list[int] = []

    async def call(number: int) -> None:
        await limit.admit()
        order.append(number)

    await asyncio.gather(*(call(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4]


async def test_a_refusal_holds_back_calls_that_wait_already() -> None:
    clock = VirtualClock()
    limit = a_limit(clock, requests=1)
    await limit.admit()
    waiting = asyncio.create_task(limit.admit())
    await asyncio.sleep(0)
    began = clock.now - 30.0
    limit.refused(100.0)
    await waiting
    assert clock.now == began + 30.0 + 100.0


async def test_without_a_wish_the_waits_grow_until_a_call_succeeds() -> None:
    clock = VirtualClock()
    limit = a_limit(clock)
    waits = []
    for _ in range(3):
        waits.append(limit.refused(None))
        clock.now += waits[-1]
    limit.accepted()
    waits.append(limit.refused(None))
    assert waits == [2.0, 4.0, 8.0, 2.0]


async def test_refusals_of_calls_that_left_together_count_once() -> None:
    limit = a_limit(VirtualClock())
    assert [limit.refused(None) for _ in range(5)] == [2.0] * 5


async def test_a_shorter_wish_does_not_shorten_a_longer_one() -> None:
    clock = VirtualClock()
    limit = a_limit(clock)
    limit.refused(60.0)
    limit.refused(5.0)
    await limit.admit()
    assert clock.slept == [60.0]


async def test_a_call_in_a_hurry_gives_up_at_once_and_takes_no_place() -> None:
    clock = VirtualClock()
    limit = a_limit(clock, requests=1)
    await limit.admit(within=5.0)
    with pytest.raises(NotAskedError) as caught:
        await limit.admit(within=5.0)
    assert caught.value.retry_after == 30.0
    assert clock.slept == []
    clock.now += 30.0
    await limit.admit(within=0.0)


async def test_a_call_in_a_hurry_does_not_leave_late_behind_others() -> None:
    clock = VirtualClock()
    limit = a_limit(clock, requests=1)
    await limit.admit()
    patient = asyncio.create_task(limit.admit())
    await asyncio.sleep(0)
    clock.now -= 30.0  # the patient one still sleeps
    hasty = asyncio.create_task(limit.admit(within=5.0))
    await asyncio.sleep(0)
    clock.now += 30.0
    await patient
    with pytest.raises(NotAskedError):
        await hasty


async def test_a_cancelled_call_does_not_block_the_next() -> None:
    clock = VirtualClock()
    limit = a_limit(clock, requests=1)
    await limit.admit()
    waiting = asyncio.create_task(limit.admit())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await limit.admit()
