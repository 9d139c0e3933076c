"""Whatever happens to a stream, in whatever order: never two exports for one cycle, never a step back, never an end
without all bytes, and never a standstill that nobody can see.

A model for Hypothesis: each rule is one thing that can happen, and the checks hold after each. Something new that can
happen is one more rule; something new that must hold is one more check of a commit, or one more invariant.
``--hypothesis-profile=thorough`` looks further.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome
from streamer.core.signals import AbandonExport, Pause, Resume, Retry, Signal, SnapshotNow, WindowNow
from streamer.core.states import Publishing, Stopped, Waiting
from streamer.errors import (
    AccessRefusedError,
    AddRejectedError,
    DownloadBrokenError,
    ExportLostError,
    LinkRefusedError,
    MewsUnavailableError,
    NotOwnerError,
    ProducerLostError,
    RateLimitedError,
    StreamerError,
)
from streamer.model import Export, ExportId, ExportStatus
from tests.memory_kafka import Trouble
from tests.memory_mews import MemoryMews
from tests.unit.service.life_bench import INTERVAL, KEY, SHARD, Bench
from tests.unit.virtual_loop import VirtualLoop

MINUTE, HOUR = 60.0, 3600.0
FEW = st.integers(1, 4)

Errors = dict[str, Callable[[], StreamerError]]

ADD_ERRORS: Errors = {
    "unavailable": lambda: MewsUnavailableError("503"),
    "rate limited": lambda: RateLimitedError("429", retry_after=30.0),
    "refused": lambda: AccessRefusedError("401"),
    "rejected": lambda: AddRejectedError("something else"),
}
POLL_ERRORS: Errors = {name: make for name, make in ADD_ERRORS.items() if name != "rejected"}
BODY_ERRORS: Errors = {
    "cut": lambda: DownloadBrokenError("cut"),
    "link expired": lambda: LinkRefusedError("403"),
    "host unavailable": lambda: MewsUnavailableError("503"),
    "file changed": lambda: ExportLostError("file changed"),
}


SIGNALS = [SnapshotNow(), WindowNow(), Pause(), Resume(), AbandonExport(), Retry(), b"nonsense"]


class OneAtATime(MemoryMews):
    """Mews, with its rule of one export of a type at a time, and exports that end when told to."""

    def __init__(self, files: Iterable[bytes]) -> None:
        super().__init__(list(files))
        self.statuses: dict[ExportId, ExportStatus] = {}
        self.lose_answers = 0

    @property
    def running(self) -> list[ExportId]:
        busy = (ExportStatus.PENDING, ExportStatus.PROCESSING)
        return [export_id for export_id, status in self.statuses.items() if status in busy]

    def decide(self) -> None:
        """What the call that is being made comes to."""
        if self.adds:
            return
        if self.running:
            self.adds.append(AddRejectedError("an export is already running"))
            return
        self.statuses[ExportId(f"e{len(self.added) + 1}")] = ExportStatus.PENDING
        if self.lose_answers:
            self.lose_answers -= 1
            self.added.append(self.running[0])
            self.adds.append(MewsUnavailableError("the answer is lost"))

    def end(self, status: ExportStatus) -> None:
        for export_id in self.running:
            self.statuses[export_id] = status

    async def fetch(self, export_id: ExportId) -> Export | None:
        if not self.answers:
            self.answers.append(self.statuses.get(export_id, ExportStatus.EXPIRED))
        return await super().fetch(export_id)


class AnyLife(RuleBasedStateMachine):
    """One stream over Kafka and Mews in memory, in virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.exports: dict[int, ExportId] = {}
        """By cycle: the one export that a checkpoint has ever named for it."""
        self.completed: list[str] = []

    def go(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let the world turn until this is done."""
        self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        async def begin() -> None:
            self.bench = Bench(once=False, update_interval=timedelta(minutes=30))
            self.mews = OneAtATime(self.bench.mews.files.values())
            self.bench.use(self.mews)
            guard = self.mews.on_add

            def on_add() -> None:
                guard()
                self.mews.decide()

            self.mews.on_add = on_add
            self.life = asyncio.create_task(self.bench.live())
            await asyncio.sleep(0)

        self.go(begin())
        self.checked = 0

    # -- what can happen --------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.5, 10.0, 6 * MINUTE, 70 * MINUTE, 7 * HOUR]))
    def time_passes(self, seconds: float) -> None:
        before, tried = self.bench.checkpoint, self.signs_of_life()
        self.go(asyncio.sleep(seconds))
        if seconds >= HOUR and self.bench.checkpoint == before:
            assert self.is_seen_to_wait() or self.signs_of_life() != tried, "stuck, and nothing says why"

    @rule(status=st.sampled_from([ExportStatus.SUCCESS, ExportStatus.FAILED, ExportStatus.EXPIRED]))
    def mews_ends_what_is_running(self, status: ExportStatus) -> None:
        self.mews.end(status)

    @rule(seconds=st.sampled_from([6 * MINUTE, 40 * MINUTE]))
    def mews_is_done_and_time_passes(self, seconds: float) -> None:
        # By itself chance hardly ever gets from one end of an export to the other.
        self.mews.end(ExportStatus.SUCCESS)
        self.time_passes(seconds)

    @rule(count=FEW, kind=st.sampled_from(sorted(ADD_ERRORS)))
    def requests_meet(self, count: int, kind: str) -> None:
        self.mews.adds += [ADD_ERRORS[kind]() for _ in range(count)]

    @rule(count=FEW)
    def answers_to_requests_are_lost(self, count: int) -> None:
        self.mews.lose_answers = count

    @rule(count=FEW, kind=st.sampled_from(sorted(POLL_ERRORS)))
    def polls_meet(self, count: int, kind: str) -> None:
        self.mews.answers += [POLL_ERRORS[kind]() for _ in range(count)]

    @rule(answer=st.sampled_from([None, ExportStatus.UNKNOWN, ExportStatus.EXPIRED, ExportStatus.FAILED]))
    def a_poll_is_told(self, answer: ExportStatus | None) -> None:
        self.mews.answers.append(answer)

    @rule(kinds=st.lists(st.sampled_from(sorted(BODY_ERRORS)), min_size=1, max_size=3))
    def downloads_meet(self, kinds: list[str]) -> None:
        self.bench.host.breaks += [BODY_ERRORS[kind]() for kind in kinds]

    @rule(after=st.integers(1, 9), trouble=st.sampled_from(Trouble))
    def a_transaction_meets_and_an_export_goes_on(self, after: int, trouble: Trouble) -> None:
        self.bench.kafka.troubles[self.bench.kafka.transactions + after] = trouble
        self.mews_is_done_and_time_passes(6 * MINUTE)

    @rule(count=FEW)
    def the_group_refuses(self, count: int) -> None:
        self.bench.group.refusals += [NotOwnerError("thrown out")] * count

    @rule()
    def the_process_is_killed(self) -> None:
        self.bench.kill()
        self.go(asyncio.sleep(0))

    @rule()
    def somebody_else_takes_the_shard_for_a_moment(self) -> None:
        async def come_and_go() -> None:
            other = await self.bench.take(SHARD, owner="other")
            found = other.checkpoint(KEY)
            assert found is not None
            # Whom it has fenced may be back before it can write.
            with contextlib.suppress(ProducerLostError):
                await other.commit(KEY, lambda _: Outcome(found))
            await other.close()

        self.bench.group.refusals.clear()
        self.bench.kafka.troubles.clear()
        self.go(come_and_go())

    @rule(seconds=st.sampled_from([3.0, 20.0, HOUR]))
    def the_process_is_frozen(self, seconds: float) -> None:
        self.bench.frozen += seconds

    @rule(by=st.sampled_from([-INTERVAL, timedelta(seconds=-20), timedelta(minutes=5), INTERVAL]))
    def the_wall_clock_is_set(self, by: timedelta) -> None:
        self.bench.wrong += by

    @rule(signal=st.sampled_from(SIGNALS))
    def a_person_signals(self, signal: Signal | bytes) -> None:
        self.go(self.bench.signal(signal))

    # -- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def nothing_has_broken(self) -> None:
        if self.life.done():
            self.life.result()
            raise AssertionError("the stream has ended by itself")

    @invariant()
    def every_commit_follows_from_the_last(self) -> None:
        commits = self.bench.checkpoints
        for before, after in zip(commits[max(0, self.checked - 1) :], commits[self.checked :], strict=False):
            self.check_step(before, after)
        self.checked = len(commits)

    def check_step(self, before: Checkpoint, after: Checkpoint) -> None:
        assert after.term >= before.term
        assert after.cycle - before.cycle in (0, 1)
        state, earlier = after.state, before.state
        if isinstance(state, Stopped):
            state = state.before
        if isinstance(state, Waiting | Publishing):
            assert self.exports.setdefault(after.cycle, state.export_id) == state.export_id, "two exports of one cycle"
        if isinstance(state, Publishing) and isinstance(earlier, Publishing) and state.export_id == earlier.export_id:
            assert (state.position.file, state.position.offset) >= (earlier.position.file, earlier.position.offset)
            assert state.counts.lines >= earlier.counts.lines

    @invariant()
    def what_is_completed_is_all_there_and_no_cycle_is_completed_twice(self) -> None:
        completed = [event["export_id"] for event in self.bench.events if event["event"] == "export_completed"]
        assert len(set(completed)) == len(completed)
        for export_id in completed[len(self.completed) :]:
            assert export_id in self.exports.values()
            self.bench.check_completed(export_id)
        self.completed = completed

    def is_seen_to_wait(self) -> bool:
        """Whether the status tells why nothing happens: it is not yet time, Mews is at work, or there is trouble."""
        checkpoint = self.bench.checkpoint
        match checkpoint.state:
            case Stopped():
                return True
            case Waiting(export_id=export_id):
                return export_id in self.mews.running
            case _ if checkpoint.paused:
                return True
            case _:
                return checkpoint.error is not None or self.bench.is_not_due()

    def signs_of_life(self) -> float:
        """What is counted where a step is tried again."""
        return self.bench.retries() + self.bench.take_overs

    def teardown(self) -> None:
        try:
            if hasattr(self, "life"):
                self.recover()
        finally:
            # Whatever lives is ended by it.
            self.runner.close()

    def recover(self) -> None:
        """Once all is well again the stream completes an export, by itself and within a day."""
        bench, mews = self.bench, self.mews
        bench.wrong = timedelta()
        bench.group.refusals.clear()
        bench.kafka.troubles.clear()
        bench.host.breaks.clear()
        for scripted in (mews.adds, mews.answers):
            scripted.clear()
        mews.lose_answers = 0
        self.go(bench.signal(Resume()))
        done = len(self.completed)
        for _ in range(48):
            mews.end(ExportStatus.SUCCESS)
            self.go(asyncio.sleep(HOUR / 2))
            self.nothing_has_broken()
            self.every_commit_follows_from_the_last()
            self.what_is_completed_is_all_there_and_no_cycle_is_completed_twice()
            if len(self.completed) > done:
                return
        raise AssertionError(f"nothing was completed within a day of good weather: {bench.checkpoint}")


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(
    max_examples=max(8, settings().max_examples // 4),
    stateful_step_count=25,
    deadline=None,
    # What a failure is shrunk to is worth the time; explaining it further is not.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
