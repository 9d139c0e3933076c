"""Brings a daemon to one of its tender moments: the simulator or a proxy holds something back, and says of whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from streamer.sandbox.faults import FaultRule, Hold
from tests.chaos.schedule import Instant, Strike
from tests.chaos.stage import ENTITY_TYPES, FILES, LINE_BYTES, UNTIDY_TYPE, Stage
from tests.daemon import Daemon, Row
from tests.facts import murmur2
from tests.proxy import Api, Request, Trap, commit_after_records_to

SPRING_SECONDS = 12.0
"""So long a trap waits for its prey before the aim is given up."""

SEEN_SECONDS = 3.0
"""Until what is committed shows on the pages of another daemon."""

SHARDS = 16
T = TypeVar("T")
TIDY_TYPES = tuple(entity_type for entity_type in ENTITY_TYPES if entity_type != UNTIDY_TYPE)


@dataclass(frozen=True)
class Caught:
    """A daemon at its instant, and how what is held of it goes on, or never does."""

    victim: Daemon
    let_go: Callable[[], object]
    lose: Callable[[], object]
    export_id: str | None = None
    """The export that it is about, where what is held says so."""


class Instants:
    """Where an instant does not come in time, or nobody can be found who is there, there is no victim."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._fleet = stage.fleet

    def reached(self, strike: Strike) -> AbstractAsyncContextManager[Caught | None]:
        """The victim, at the strike's instant for as long as the context lasts or until it is let go."""
        assert strike.instant is not None
        ways = {
            Instant.ADD_UNANSWERED: self._add_unanswered,
            Instant.ID_UNCOMMITTED: self._id_uncommitted,
            Instant.MID_FILE: self._mid_file,
            Instant.RECORDS_UNCOMMITTED: self._records_uncommitted,
            Instant.COMMIT_UNANSWERED: self._records_uncommitted,
            Instant.BETWEEN_FILES: self._between_files,
        }
        return ways[strike.instant](strike)

    @asynccontextmanager
    async def _add_unanswered(self, strike: Strike) -> AsyncIterator[Caught | None]:
        """Some before Mews has seen the request: it is processed after the death of its sender, or not at all."""
        rule = FaultRule(on="add", action=Hold(before=strike.late))
        async with self._held(rule, lambda row: row["phase"] == "requesting") as caught:
            yield caught

    @asynccontextmanager
    async def _mid_file(self, strike: Strike) -> AsyncIterator[Caught | None]:
        entity_type = await self._busy_type(strike.pick)
        size = self._stage.settings.entities * LINE_BYTES // FILES
        at_byte = int((0.4 + strike.pick / 2) * size)
        rule = FaultRule(on="file", entity_type=entity_type, action=Hold(at_byte=at_byte))
        async with self._held(rule, lambda row: row["phase"] == "publishing") as caught:
            yield caught

    @asynccontextmanager
    async def _between_files(self, strike: Strike) -> AsyncIterator[Caught | None]:
        entity_type = await self._busy_type(strike.pick)
        rule = FaultRule(on="file", file_index=1, entity_type=entity_type, action=Hold())
        async with self._held(rule, lambda row: row["phase"] == "publishing" and row["export"]["file"] == 1) as caught:
            yield caught

    @asynccontextmanager
    async def _held(self, rule: FaultRule, reached: Callable[[Row], bool]) -> AsyncIterator[Caught | None]:
        """Whoever asked for what the simulator holds back, once its stream is where that should find it."""
        held = await self._stage.held(rule, SPRING_SECONDS)
        if held is None or held.entity_type is None:
            yield None
            return

        def let_go() -> None:
            self._stage.aimed.discard(held.id)
            self._stage.simulator.release(held.id)

        victim = await self._owner(held.entity_type, reached)
        if victim is None:
            let_go()
            yield None
        else:
            # A killed client takes its request with it, unless it is one that the server will process all the same.
            yield Caught(victim, let_go, let_go, held.export_id)

    @asynccontextmanager
    async def _id_uncommitted(self, strike: Strike) -> AsyncIterator[Caught | None]:
        async with self._held(FaultRule(on="add", action=Hold()), lambda row: row["phase"] == "requesting") as asked:
            if asked is None or asked.export_id is None:
                # An answer that a fault has replaced tells of no export.
                if asked is not None:
                    asked.let_go()
                yield None
                return
            export = self._stage.simulator.export(asked.export_id)
            shard = murmur2(self._stage.stream(export.entity_type).encode()) % SHARDS
            api = chosen((Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE, Api.END_TXN), strike.pick)

            def wanted(seen: Request) -> bool:
                return seen.api == api and (seen.transactional_id or "").endswith(f".{shard}")

            async with self._trapped(Trap(wanted, answer=False), asked.let_go) as caught:
                accepted = caught.victim.events("export_accepted") if caught else []
                known = any(line.get("export_id") == export.id for line in accepted)
                yield caught if known else None

    @asynccontextmanager
    async def _records_uncommitted(self, strike: Strike) -> AsyncIterator[Caught | None]:
        """The records are sent; their commit is held back, or only its answer."""
        # Whichever stream is first: each of them has to remember who has sent records.
        ways = [commit_after_records_to(self._stage.topic(entity_type)) for entity_type in ENTITY_TYPES]
        trap = Trap(
            lambda seen: True in [way(seen) for way in ways], answer=strike.instant is Instant.COMMIT_UNANSWERED
        )
        async with self._trapped(trap, nothing) as caught:
            yield caught

    @asynccontextmanager
    async def _trapped(self, trap: Trap, armed: Callable[[], object]) -> AsyncIterator[Caught | None]:
        """Whoever sent what the proxies hold back."""
        self._stage.arm(trap)
        armed()
        try:
            await trap.held(SPRING_SECONDS)
        except AssertionError:
            trap.release()
            yield None
            return
        victim = self._fleet.client(trap.client_port)
        if victim is None:
            trap.release()
            yield None
        else:
            yield Caught(victim, trap.release, trap.lose)

    async def _busy_type(self, pick: float) -> str:
        """A type whose files are going to be asked for soon."""
        rows = await self._fleet.rows()
        phases = {entity_type: rows.get(self._stage.stream(entity_type), {}).get("phase") for entity_type in TIDY_TYPES}
        for wanted in ({"requesting", "waiting"}, {"publishing"}):
            if found := [entity_type for entity_type, phase in phases.items() if phase in wanted]:
                return chosen(found, pick)
        return chosen(TIDY_TYPES, pick)

    async def _owner(self, entity_type: str, reached: Callable[[Row], bool]) -> Daemon | None:
        deadline = time.monotonic() + SEEN_SECONDS
        while time.monotonic() < deadline:
            row = (await self._fleet.rows()).get(self._stage.stream(entity_type))
            if row is not None and reached(row):
                return self._fleet.owner(row)
            await asyncio.sleep(0.05)
        return None


def chosen(things: Sequence[T], pick: float) -> T:
    return things[min(int(pick * len(things)), len(things) - 1)]


def nothing() -> None:
    """Nothing is held."""
