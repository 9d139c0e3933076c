"""Carries out what was planned: finds the victim, brings it to its instant, strikes, and lets go of what was held."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from streamer.sandbox.local_kafka import LocalKafka
from tests.chaos.instants import Caught, Instants, chosen, nothing
from tests.chaos.schedule import Action, BreakBroker, CutConnections, Scale, Strike
from tests.chaos.stage import Stage
from tests.daemon import Daemon


@dataclass(frozen=True)
class Struck:
    """A signal that was sent; times as the wall clock tells them, in seconds."""

    at: float
    signal: str
    instant: str
    pid: int
    seconds: float = 0.0
    """From SIGTERM to the end."""


@dataclass(frozen=True)
class Broken:
    """A broker that was gone for a while."""

    at: float
    fault: str
    node: int
    back: float


@dataclass
class Done:
    """What has been carried out so far."""

    struck: list[Struck] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    scaled: int = 0
    cut: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    """Aims without a victim."""


class Actions:
    """``background`` are the freezes that last, and the ends that are waited for."""

    def __init__(self, stage: Stage) -> None:
        self.done = Done()
        self._stage = stage
        self._fleet = stage.fleet
        self._instants = Instants(stage)
        self._cutting = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    async def carry_out(self, action: Action) -> None:
        match action:
            case Strike(instant=None):
                if free := self._fleet.free():
                    await self._strike(action, Caught(chosen(free, action.pick), nothing, nothing))
            case Strike():
                await self._strike_at(action)
            case BreakBroker():
                await self._break_broker(action, self._stage.nodes[action.node])
            case Scale():
                await self._scale(action)
            case CutConnections():
                async with self._cutting:
                    await self._stage.cut_connections()
                self.done.cut += 1

    async def rest(self) -> None:
        """Until everybody who was frozen is awake, and everybody who was told to end has ended."""
        while self._background:
            for task in (await asyncio.wait(set(self._background)))[0]:
                task.result()

    # -- daemons ----------------------------------------------------------------------------------------------------

    async def _strike_at(self, strike: Strike) -> None:
        async with self._cutting, self._instants.reached(strike) as caught:
            if caught is None:
                self.done.missed[str(strike.instant)] += 1
                return
            await self._strike(strike, caught)

    async def _strike(self, strike: Strike, caught: Caught) -> None:
        victim, at = caught.victim, time.time()
        instant = str(strike.instant or "at random")
        match strike.signal:
            case "kill":
                await self._fleet.kill(victim, pause=strike.seconds)
                self.done.struck.append(Struck(at, "SIGKILL", instant, victim.pid))
                if strike.late:
                    # What the dead one has sent is still on its way, perhaps until somebody has taken over.
                    await asyncio.sleep(strike.seconds)
                    caught.let_go()
                else:
                    caught.lose()
            case "term":
                self._later(self._terminate(strike, caught, instant, at))
                await asyncio.sleep(0.5)
            case "freeze":
                self.done.struck.append(Struck(at, "SIGSTOP", instant, victim.pid))
                # Either its answer waits for it, or it wakes up before there is one.
                early, late = (nothing, caught.let_go) if strike.late else (caught.let_go, nothing)
                self._later(self._freeze(victim, strike.seconds, early, late))
                await asyncio.sleep(0.2)

    async def _terminate(self, strike: Strike, caught: Caught, instant: str, at: float) -> None:
        seconds = await self._fleet.terminate(caught.victim, caught.let_go)
        self.done.struck.append(Struck(at, "SIGTERM", instant, caught.victim.pid, seconds))

    async def _freeze(
        self, victim: Daemon, seconds: float, early: Callable[[], object], late: Callable[[], object]
    ) -> None:
        await self._fleet.freeze(victim, seconds, early)
        late()

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        # One that failed is kept, for ``rest`` to raise its error.
        if task.cancelled() or task.exception() is None:
            self._background.discard(task)

    async def _scale(self, action: Scale) -> None:
        self._fleet.wanted = action.replicas
        for _ in range(len(self._fleet.free()) - action.replicas):
            if free := self._fleet.free():
                self._later(self._leave(chosen(free, action.pick)))
                await asyncio.sleep(0)
        self.done.scaled += 1

    async def _leave(self, daemon: Daemon) -> None:
        at = time.time()
        seconds = await self._fleet.terminate(daemon)
        self.done.struck.append(Struck(at, "SIGTERM", "scaled down", daemon.pid, seconds))

    # -- brokers ----------------------------------------------------------------------------------------------------

    async def _break_broker(self, action: BreakBroker, node: LocalKafka) -> None:
        at = time.time()
        match action.fault:
            case "kill":
                await asyncio.to_thread(node.kill)
                await asyncio.sleep(action.seconds)
                await asyncio.to_thread(node.start)
            case "restart":
                await asyncio.to_thread(node.restart)
            case "freeze":
                node.pause()
                try:
                    await asyncio.sleep(action.seconds)
                finally:
                    node.resume()
        self.done.broken.append(Broken(at, action.fault, action.node, time.time()))
        if self._stage.cluster is not None:
            # Two at once are more than three replicas promise to survive.
            await asyncio.to_thread(self._stage.cluster.wait_until_whole)
