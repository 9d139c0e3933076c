"""A shard's streams get session after session, and end with the shard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome
from streamer.errors import KafkaUnavailableError, NotOwnerError, ProducerLostError
from streamer.kafka.producer import TransactionalProducer
from streamer.model import Shard, StreamKey
from streamer.service.session import Session
from streamer.service.shard import OwnedShard, Sessions
from tests.memory_kafka import Trouble
from tests.unit.service.life_bench import KEY, SHARD, Bench


class WritingStream:
    """Commits in every session, ``each`` times or until it fails, ``lives`` sessions long."""

    def __init__(self, *, lives: int, each: int = 1) -> None:
        self.key: StreamKey = KEY
        self.sessions: list[Session] = []
        self._lives = lives
        self._each = each

    async def run(self, sessions: Sessions) -> None:
        while len(self.sessions) < self._lives:
            session = await sessions.next()
            self.sessions.append(session)
            try:
                for _ in range(self._each):
                    await session.commit(KEY, lambda _: Outcome(Checkpoint()))
            except ProducerLostError:
                continue
            if len(self.sessions) < self._lives:
                session.lost.set()


class WaitingStream:
    """Waits for sessions for ever."""

    def __init__(self) -> None:
        self.key: StreamKey = KEY
        self.session: Session | None = None

    async def run(self, sessions: Sessions) -> None:
        self.session = await sessions.next()
        await asyncio.Event().wait()


class Restarts:
    """Take-overs that are counted and may fail first."""

    def __init__(self, bench: Bench, *failures: Exception) -> None:
        self.times: list[float] = []
        self.restarted = 0
        self._bench = bench
        self._failures = list(failures)

    async def take_over(self, shard: Shard) -> Session:
        self.times.append(self._bench.clock.monotonic())
        if self._failures:
            raise self._failures.pop(0)
        return await self._bench.take(shard)

    def count(self) -> None:
        self.restarted += 1

    def shard(self, *streams: WritingStream | WaitingStream) -> OwnedShard:
        take: Callable[[Shard], Awaitable[Session]] = self.take_over
        return OwnedShard(SHARD, streams, take_over=take, clock=self._bench.clock, restarted=self.count)

    @property
    def waits(self) -> list[float]:
        return [round(b - a, 2) for a, b in pairwise(self.times)]


async def test_a_shard_ends_when_its_streams_have_and_closes_its_session() -> None:
    bench = Bench()
    stream, restarts = WritingStream(lives=1), Restarts(bench)
    await restarts.shard(stream).run()
    assert stream.sessions[0].lost.is_set()
    assert restarts.restarted == 0
    with pytest.raises(ProducerLostError):
        await stream.sessions[0].commit(KEY, lambda _: Outcome(Checkpoint()))


async def test_after_a_lost_session_the_streams_get_another_of_a_higher_term() -> None:
    bench = Bench()
    stream, restarts = WritingStream(lives=4), Restarts(bench)
    await restarts.shard(stream).run()
    assert [session.term for session in stream.sessions] == [1, 2, 3, 4]
    assert restarts.restarted == 3


async def test_nobody_is_given_a_session_that_is_lost() -> None:
    bench = Bench()
    sessions = Sessions()
    first = await bench.take(SHARD)
    first.lost.set()
    await sessions.offer(first)
    waiting = asyncio.create_task(sessions.next())
    await asyncio.sleep(10)
    assert not waiting.done()
    second = await bench.take(SHARD)
    await sessions.offer(second)
    assert await waiting is second
    assert await sessions.next() is second


async def test_take_overs_that_fail_are_tried_again_with_ever_longer_waits_up_to_a_ceiling() -> None:
    bench = Bench()
    restarts = Restarts(bench, *[NotOwnerError("no"), KafkaUnavailableError("away")] * 6)
    await restarts.shard(WritingStream(lives=1)).run()
    assert restarts.waits == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    assert restarts.restarted == 0


async def test_sessions_that_are_lost_before_any_commit_follow_ever_more_slowly() -> None:
    bench = Bench()
    bench.kafka.troubles = dict.fromkeys(range(1, 5), Trouble.FENCED)
    restarts = Restarts(bench)
    await restarts.shard(WritingStream(lives=5)).run()
    assert restarts.waits == [0.25, 0.5, 1, 2]


async def test_a_commit_begins_the_waits_from_the_shortest() -> None:
    bench = Bench()
    bench.kafka.troubles = {1: Trouble.FENCED, 2: Trouble.FENCED, 4: Trouble.FENCED, 5: Trouble.FENCED}
    restarts = Restarts(bench)
    await restarts.shard(WritingStream(lives=5, each=2)).run()
    assert restarts.waits == [0.25, 0.5, 0.25, 0.5]


async def test_a_shard_that_is_given_up_ends_its_streams_and_closes_its_session() -> None:
    bench = Bench()
    stream = WaitingStream()
    working = asyncio.create_task(Restarts(bench).shard(stream).run())
    await asyncio.sleep(1)
    assert stream.session is not None
    assert not stream.session.lost.is_set()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert working.cancelled()
    assert stream.session.lost.is_set()


async def test_a_defect_in_the_take_over_ends_the_shard_with_its_error() -> None:
    restarts = Restarts(Bench(), ZeroDivisionError("a defect"))
    with pytest.raises(ExceptionGroup) as caught:
        await restarts.shard(WaitingStream(), WaitingStream()).run()
    assert caught.group_contains(ZeroDivisionError)


async def test_a_defect_in_a_stream_ends_the_others_too() -> None:
    class BrokenStream(WaitingStream):
        async def run(self, sessions: Sessions) -> None:
            await sessions.next()
            raise ZeroDivisionError

    other = WaitingStream()
    with pytest.raises(ExceptionGroup) as caught:
        await Restarts(Bench()).shard(other, BrokenStream()).run()
    assert caught.group_contains(ZeroDivisionError)
    assert other.session is None or other.session.lost.is_set()


async def test_a_shard_that_is_given_up_while_a_producer_closes_ends_at_once_and_the_closing_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = []
    close = TransactionalProducer.close

    async def slowly(producer: TransactionalProducer) -> None:
        # As aiokafka does it: a cancellation that comes meanwhile is swallowed.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
            await close(producer)
            closed.append(producer)

    monkeypatch.setattr(TransactionalProducer, "close", slowly)
    bench = Bench()
    stream = WaitingStream()
    restarts = Restarts(bench)
    working = asyncio.create_task(restarts.shard(stream).run())
    await asyncio.sleep(1)
    assert stream.session is not None
    stream.session.lost.set()
    await asyncio.sleep(1)
    working.cancel()
    await asyncio.wait({working}, timeout=1)
    assert working.cancelled()
    await asyncio.sleep(10)
    assert len(closed) == 1
    assert len(restarts.times) == 1


async def test_a_stream_that_loses_its_cancellation_to_a_failure_is_ended_all_the_same() -> None:
    class DeafStream(WaitingStream):
        async def run(self, sessions: Sessions) -> None:
            try:
                await super().run(sessions)
            except asyncio.CancelledError:
                await asyncio.Event().wait()

    working = asyncio.create_task(Restarts(Bench()).shard(DeafStream()).run())
    await asyncio.sleep(1)
    working.cancel()
    await asyncio.wait({working}, timeout=5)
    assert working.cancelled()
