"""A stream that asks Mews for an export: called once for each intent, blocked, and refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest

from streamer.core.inputs import Retried
from streamer.core.lifecycle import transition
from streamer.core.states import Requesting, Stopped, Waiting, phase_of
from streamer.errors import (
    AccessRefusedError,
    AddRejectedError,
    KafkaUnavailableError,
    MewsUnavailableError,
    NotOwnerError,
    RateLimitedError,
)
from streamer.model import ExportStatus
from tests.memory_kafka import Record, Trouble
from tests.unit.service.life_bench import BLOCKED_LIMIT, KEY, LIFE, SHARD, Bench

HOUR = 3600.0
PENDING, SUCCESS = ExportStatus.PENDING, ExportStatus.SUCCESS


class TestAdd:
    """``exports/add`` is neither fenced nor idempotent."""

    async def test_an_answer_that_comes_while_the_session_is_lost_is_used_by_the_next(self) -> None:
        bench = Bench()
        bench.mews.hold = asyncio.Event()
        async with bench.living():
            await bench.until(lambda: bench.mews.add_calls == 1)
            assert bench.session is not None
            bench.session.lost.set()
            await asyncio.sleep(0)
            bench.mews.hold.set()
            await bench.until(lambda: bench.stream.done is not None)
        assert bench.mews.add_calls == 1
        assert [c.term for c in bench.checkpoints][:2] == [1, 2]
        bench.check_completed("e1")

    async def test_an_answer_is_not_used_when_the_checkpoint_read_back_is_another(self) -> None:
        bench = Bench()
        bench.mews.hold = asyncio.Event()
        async with bench.living():
            await bench.until(lambda: bench.mews.add_calls == 1)
            await self.somebody_else_asks_again(bench)
            assert bench.session is not None
            bench.session.lost.set()
            bench.mews.hold.set()
            await bench.until(lambda: bench.stream.done is not None)
        assert bench.mews.add_calls == 2
        assert not any(isinstance(c.state, Waiting) and c.state.export_id == "e1" for c in bench.checkpoints)
        bench.check_completed("e2")

    async def somebody_else_asks_again(self, bench: Bench) -> None:
        other = await bench.take(SHARD, owner="other")
        found = other.checkpoint(KEY)
        assert found is not None
        await other.commit(KEY, lambda _: transition(KEY, found, Retried(), now=bench.clock.now()))
        await other.close()

    async def test_an_answer_that_comes_while_the_shard_is_given_up_is_used_when_it_comes_back(self) -> None:
        bench = Bench()
        bench.mews.hold = asyncio.Event()
        life = asyncio.create_task(bench.live())
        await bench.until(lambda: bench.mews.add_calls == 1)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        bench.mews.hold.set()
        await asyncio.sleep(100)
        await bench.live()
        assert bench.mews.add_calls == 1
        bench.check_completed("e1")

    async def test_an_answer_whose_checkpoint_was_lost_with_the_session_is_written_by_the_next(self) -> None:
        bench = Bench()
        bench.kafka.troubles = {2: Trouble.DIES_BEFORE_COMMIT}
        await bench.live()
        assert bench.mews.add_calls == 1
        bench.check_completed("e1")

    async def test_a_restarted_process_asks_anew_after_a_new_intent(self) -> None:
        bench = Bench()
        bench.is_mortal = True
        bench.kafka.troubles = {2: Trouble.DIES_BEFORE_COMMIT}
        await bench.live()
        assert bench.mews.add_calls == 2
        assert len(bench.times("requesting")) == 2
        bench.check_completed("e2")

    @pytest.mark.parametrize("seconds", [5.1, 600.0])
    async def test_a_process_frozen_between_proof_and_call_writes_a_new_intent_first(self, seconds: float) -> None:
        bench = Bench()
        prove = bench.group.on_proof

        def freeze() -> None:
            prove()
            if bench.group.proofs == 3:
                bench.frozen += seconds

        bench.group.on_proof = freeze
        await bench.live()
        assert len(bench.times("requesting")) == 2
        assert bench.mews.add_calls == 1
        bench.check_completed("e1")

    async def test_a_process_that_is_too_slow_to_call_in_time_does_not_wait_longer_each_time(self) -> None:
        bench = Bench()
        prove = bench.group.on_proof

        def be_slow() -> None:
            prove()
            # From the proof before the first call on; the two before it are those of the take-over.
            if 2 < bench.group.proofs <= 12:
                bench.frozen += 6.0

        bench.group.on_proof = be_slow
        await bench.live()
        assert bench.mews.add_calls == 1
        assert len(bench.times("requesting")) == 11
        waited = bench.times("add")[0] - bench.times("requesting")[0] - 10 * 6.0
        assert waited < 15
        bench.check_completed("e1")

    async def test_a_process_frozen_before_its_commit_is_answered_writes_a_new_intent_first(self) -> None:
        bench = Bench()
        note = bench.kafka.on_commit

        def freeze(records: Sequence[tuple[str, Record]]) -> None:
            note(records)
            if len(bench.checkpoints) == 1:
                bench.frozen += 60

        bench.kafka.on_commit = freeze
        await bench.live()
        assert len(bench.times("requesting")) == 2
        assert bench.mews.add_calls == 1
        bench.check_completed("e1")

    async def test_without_a_proof_add_is_not_called(self) -> None:
        bench = Bench()
        bench.group.refusals = [None, None, NotOwnerError("thrown out"), KafkaUnavailableError("away")]
        await bench.live()
        assert bench.mews.add_calls == 1
        assert bench.group.proofs == 5
        # Each refusal spends the intent: the shard may have been somebody else's meanwhile, who called `add`.
        assert len(bench.times("requesting")) == 3
        bench.check_completed("e1")

    @pytest.mark.parametrize(
        "error", [MewsUnavailableError("502"), RateLimitedError("429", retry_after=120.0)], ids=["502", "429"]
    )
    async def test_an_answer_that_is_lost_or_puts_off_is_asked_for_again_with_a_new_intent(
        self, error: Exception
    ) -> None:
        bench = Bench()
        bench.mews.adds = [error]
        await bench.live()
        first, second = bench.times("add")
        assert second - first == pytest.approx(120.0 if isinstance(error, RateLimitedError) else 1.0, abs=0.1)
        assert len(bench.times("requesting")) == 2
        assert {c.cycle for c in bench.checkpoints} == {1}
        bench.check_completed("e1")

    async def test_stopping_waits_for_the_answer_and_commits_its_id(self) -> None:
        bench = Bench()
        bench.mews.hold = asyncio.Event()
        async with bench.living():
            await bench.until(lambda: bench.mews.add_calls == 1)
            asyncio.get_running_loop().call_later(3, bench.mews.hold.set)
        state = bench.checkpoint.state
        assert isinstance(state, Waiting)
        assert state.export_id == "e1"


class TestBlocked:
    async def test_a_rejected_request_is_told_once_waits_longer_each_time_and_is_made_again(self) -> None:
        bench = Bench()
        bench.mews.adds = [AddRejectedError("already running")] * 5
        await bench.live()
        assert bench.told == ["export_blocked", *LIFE]
        waits = [later - earlier for earlier, later in pairwise(bench.times("add"))]
        assert waits == pytest.approx([1, 2, 4, 8, 16], abs=0.1)
        assert bench.checkpoint.error is None
        assert bench.events[0]["reason"] == "already running"
        bench.check_completed("e1")

    async def test_a_request_that_is_blocked_for_too_long_stops_the_stream_with_the_message(self) -> None:
        bench = Bench(once=False)
        bench.mews.adds = [AddRejectedError("something else")] * 10_000
        async with bench.living():
            await bench.until(lambda: bench.checkpoint.phase == "stopped", every=60)
            assert bench.clock.monotonic() == pytest.approx(BLOCKED_LIMIT.total_seconds(), abs=600)
            state = bench.checkpoint.state
            assert isinstance(state, Stopped)
            assert "something else" in state.reason
            assert isinstance(state.before, Requesting)
            bench.mews.adds = []
            await bench.until(lambda: "export_completed" in bench.told, every=60, limit=2 * HOUR)
        assert bench.told == ["export_blocked", *LIFE]

    async def test_once_a_blocked_stream_is_stopped_it_is_done(self) -> None:
        bench = Bench()
        bench.mews.adds = [AddRejectedError("x")] * 10_000
        await bench.live()
        assert bench.stream.done is not None
        assert isinstance(bench.stream.done.state, Stopped)


class TestRefused:
    @pytest.mark.parametrize("where", ["add", "poll", "publish"])
    async def test_a_refused_stream_looks_again_an_hour_later_where_it_was(self, where: str) -> None:
        bench = Bench(once=False)
        refusal = AccessRefusedError("401: the token is refused")
        if where == "add":
            bench.mews.adds = [refusal]
        else:
            bench.mews.answers = [refusal] if where == "poll" else [SUCCESS, refusal]
        async with bench.living():
            await bench.until(lambda: bench.checkpoint.phase == "stopped")
            state = bench.checkpoint.state
            assert isinstance(state, Stopped)
            assert state.look_at - state.since == timedelta(hours=1)
            assert state.reason == "401: the token is refused"
            assert phase_of(state.before) == {"add": "requesting", "poll": "waiting", "publish": "publishing"}[where]
            await bench.until(lambda: "export_completed" in bench.told, every=10)
        phases = [phase for phase, _ in bench.commits()]
        stopped = phases.index("stopped")
        assert phases[stopped + 1] == phases[stopped - 1]
        assert bench.commits()[stopped + 1][1] - bench.commits()[stopped][1] == pytest.approx(HOUR, abs=0.1)
        bench.check_completed("e1")
        assert bench.told == LIFE

    async def test_a_new_secret_makes_a_refused_stream_try_again_at_once(self) -> None:
        bench = Bench(once=False)
        # One that comes while nothing is refused changes nothing, also not later.
        bench.stream.renew()
        bench.mews.adds = [AccessRefusedError("401: the token is refused")]
        async with bench.living():
            await bench.until(lambda: bench.checkpoint.phase == "stopped")
            await asyncio.sleep(60)
            assert bench.checkpoint.phase == "stopped"
            bench.stream.renew()
            await bench.until(lambda: bench.checkpoint.phase == "waiting")
        phases = [phase for phase, _ in bench.commits()]
        stopped = phases.index("stopped")
        assert bench.commits()[stopped + 1][1] - bench.commits()[stopped][1] == pytest.approx(60, abs=1)

    async def test_in_the_middle_of_an_export_it_goes_on_at_the_block_that_was_reached(self) -> None:
        bench = Bench(once=False)
        async with bench.living():
            bench.host.pauses = {("part-2.jsonl", 48): 60.0}
            await bench.until(lambda: "file_published" in bench.told)
            assert bench.session is not None
            bench.session.lost.set()
            bench.mews.answers = [AccessRefusedError("403")]
            await bench.until(lambda: bench.checkpoint.phase == "stopped")
            await bench.until(lambda: "export_completed" in bench.told, every=10)
        bench.check_completed("e1")
