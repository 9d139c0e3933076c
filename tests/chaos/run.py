"""A run of chaos from its first broker to its verdict."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.actions import Actions
from tests.chaos.report import MEGABYTE, Outcome
from tests.chaos.schedule import Planned, chaos, recovery
from tests.chaos.stage import ENTITY_TYPES, Settings, Stage, staged
from tests.chaos.weather import struck
from tests.scene import is_done

BEGIN_SECONDS = 240.0
SETTLE_SECONDS = 480.0
RECKON_SECONDS = 1800.0
PAGES_SECONDS = 5.0
MOST_MEMORY = 300 * MEGABYTE
"""Far more than four downloads with small blocks need, far less than millions of records would."""

Say = Callable[[str], None]


async def run(settings: Settings, directory: Path, say: Say, *, every: float = 15.0) -> Outcome:
    """Everything in ``directory``; ``say`` is told how things are every so many seconds."""
    planned = plan(settings)
    async with staged(settings, directory) as stage:
        return await _Run(settings, stage, say, every).through(planned)


def plan(settings: Settings) -> list[Planned]:
    """What the seed means."""
    if settings.recovery:
        return recovery(
            settings.seed, settings.recovery, brokers=settings.brokers, session_seconds=settings.session_timeout
        )
    return chaos(settings.seed, settings.minutes * 60, brokers=settings.brokers, pause=settings.pause)


class _Run:
    def __init__(self, settings: Settings, stage: Stage, say: Say, every: float) -> None:
        self._settings = settings
        self._stage = stage
        self._actions = Actions(stage)
        self._say = say
        self._every = every
        self._began = time.monotonic()

    async def through(self, planned: Sequence[Planned]) -> Outcome:
        stage = self._stage
        began = time.monotonic()
        async with contextlib.AsyncExitStack() as helpers:
            keeper = _helper(helpers, stage.fleet.keep())
            await self._until(self._is_flowing, BEGIN_SECONDS, "the first exports were being published")
            self._say("the first records flow")
            reckoner = asyncio.create_task(stage.converse())
            helpers.push_async_callback(_ended, reckoner)
            watchers = [_helper(helpers, each) for each in (stage.end_stalls(), self._tell(), self._read_pages())]
            self._began = time.monotonic()
            lanes = {item.lane for item in planned}
            busy = [
                asyncio.create_task(self._lane([item for item in planned if item.lane == lane]))
                for lane in sorted(lanes)
            ]
            try:
                while not all(task.done() for task in busy):
                    _check(keeper, reckoner, *watchers, *busy)
                    await asyncio.sleep(0.1)
                _check(*busy)
                await self._actions.rest()
            finally:
                for task in busy:
                    task.cancel()
            seconds = time.monotonic() - self._began
            http = struck(stage.simulator.fault_states())
            if self._failed():
                # What is found is found; a reckoning of what goes on meanwhile would only find more.
                stage.fleet.wanted = 0
                await asyncio.gather(*(stage.fleet.kill(daemon) for daemon in list(stage.fleet.running)))
            else:
                await self._come_to_rest(keeper)
            stage.finish_reckoning()
            async with asyncio.timeout(RECKON_SECONDS):
                await reckoner
            self._say(self._told())
        return self._outcome(seconds, http, began)

    async def _lane(self, planned: Sequence[Planned]) -> None:
        for item in planned:
            wait = self._began + item.at - time.monotonic()
            deadline = self._began + self._settings.minutes * 60
            while wait > 0 and not self._failed():
                await asyncio.sleep(min(wait, 0.5))
                wait = self._began + item.at - time.monotonic()
            # A lane that has fallen behind (an instant that did not come, a broker slow to start) stops in time.
            if self._failed() or (time.monotonic() > deadline and not self._settings.recovery):
                return
            await self._actions.carry_out(item.action)

    async def _come_to_rest(self, keeper: asyncio.Task[Any]) -> None:
        """Good weather, and one last daemon that completes what is under way and asks for nothing new."""
        stage, fleet = self._stage, self._stage.fleet
        self._say("coming to rest")
        stage.simulator.clear_faults()
        await self._all_leave(keeper)
        fleet.config, fleet.wanted = stage.last_config, 1
        await self._until(self._is_at_rest, SETTLE_SECONDS, "all streams were at rest")
        await self._all_leave(keeper)

    async def _all_leave(self, keeper: asyncio.Task[Any]) -> None:
        fleet = self._stage.fleet
        fleet.wanted = 0
        while fleet.running:
            _check(keeper)
            for daemon in fleet.free():
                await fleet.terminate(daemon)
            await asyncio.sleep(0.1)
        fleet.forget_rows()

    # -- looking ----------------------------------------------------------------------------------------------------

    def _failed(self) -> bool:
        verdict = self._stage.verdict
        return bool(verdict.differing or verdict.secrets or self._stage.fleet.found)

    async def _until(self, reached: Callable[[], Coroutine[Any, Any, bool]], within: float, what: str) -> None:
        deadline = time.monotonic() + within
        while not await reached():
            rows = await self._stage.fleet.rows()
            assert time.monotonic() < deadline, f"not within {within:g} s: {what}: {rows} {self._tails()}"
            await asyncio.sleep(0.2)

    async def _is_flowing(self) -> bool:
        rows = await self._stage.fleet.rows()
        return any(row["phase"] == "publishing" for row in rows.values())

    async def _is_at_rest(self) -> bool:
        # Twice, as a daemon that has just started reads old checkpoints before the newest ones.
        if not await self._is_done():
            return False
        await asyncio.sleep(2.0)
        return await self._is_done()

    async def _is_done(self) -> bool:
        rows = await self._stage.fleet.rows()
        return len(rows) == len(ENTITY_TYPES) and bool(self._stage.fleet.free()) and all(map(is_done, rows.values()))

    def _tails(self) -> str:
        return "\n".join(daemon.tail() for daemon in self._stage.fleet.running)

    async def _read_pages(self) -> None:
        while True:
            await asyncio.sleep(PAGES_SECONDS)
            await self._stage.fleet.read_pages()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            self._say(self._told())

    def _told(self) -> str:
        verdict, done, fleet = self._stage.verdict, self._actions.done, self._stage.fleet
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        http = sum(struck(self._stage.simulator.fault_states()).values())
        peak = max((life.peak for life in fleet.lives.values()), default=0) / MEGABYTE
        return (
            f"{minutes:3}:{seconds:02}  strikes {len(done.struck)} (missed {done.missed.total()})  "
            f"brokers {len(done.broken)}  http {http:,}  exports {verdict.completed}+{verdict.failed + verdict.expired}"
            f"  read {verdict.taken:,}  verified {verdict.verified:,}  held {verdict.held:,}  "
            f"lost {verdict.lost}  doubled {verdict.doubled}  replicas {len(fleet.running)}  peak {peak:.0f} MB"
        )

    def _outcome(self, seconds: float, http: Any, began: float) -> Outcome:
        verdict, fleet = self._stage.verdict, self._stage.fleet
        outcome = Outcome(
            self._settings, seconds, self._actions.done, verdict, http, list(fleet.lives.values()), fleet.unclosed
        )
        outcome.found = [*verdict.differences, *(f"secret: {leak}" for leak in verdict.secrets), *fleet.found]
        if verdict.differing > len(verdict.differences):
            outcome.found.append(f"and {verdict.differing - len(verdict.differences)} differences more")
        if outcome.peak > MOST_MEMORY:
            outcome.found.append(f"memory: {outcome.peak / MEGABYTE:.0f} MB")
        if not verdict.completed:
            outcome.found.append("nothing: no export was completed, so nothing is proved")
        return outcome


def _helper(helpers: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    helpers.push_async_callback(_ended, task)
    return task


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _check(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        if task.done():
            task.result()
