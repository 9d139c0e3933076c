"""A world that moves, daemons that follow it and are killed on the way, and the topics that they leave behind.

The world's time goes in jumps, as a background task, and stands still in between: so windows that follow one another
closely meet late rows, and others have days to catch up with. The daemons live in real time all the while.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from streamer.sandbox.exports import Export, Status
from streamer.sandbox.faults import FaultRule, Hold, SpoilLine
from streamer.sandbox.held_requests import Held
from streamer.sandbox.local_kafka import LocalKafka
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.committed import read_committed
from tests.daemon import ASK_AGAIN_SECONDS, PATIENCE, Daemon, Row
from tests.facts import Published, slug
from tests.group import shard_of
from tests.proxy import Proxy, commit_after_tombstones_to
from tests.reckoning import backwards, by_id, differences, none_of, untimely
from tests.settings_file import settings_file

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SETTLED = timedelta(hours=3)
"""Longer than windows end before now, and than entities have to be gone for their tombstones."""

LEDGER = "LedgerEntry"


@dataclass(frozen=True)
class Connection:
    """A connection of the daemons, with the simulator's token of the same position, and what that reaches."""

    name: str
    entity_types: Sequence[str]
    enterprises: tuple[int, ...]


@dataclass(frozen=True)
class Pace:
    """How the world's time goes: every so many seconds it jumps by one of these."""

    seconds: float
    jumps: Sequence[timedelta]


class Course:
    """The simulator, the proxy before the broker, one daemon at a time, and what happens to it."""

    def __init__(
        self,
        *,
        kafka: LocalKafka,
        simulator: Simulator,
        proxy: Proxy,
        prefix: str,
        directory: Path,
        connections: Sequence[Connection],
        exports: Mapping[str, object],
        dice: random.Random,
    ) -> None:
        self.simulator = simulator
        self.proxy = proxy
        self.daemons: list[Daemon] = []
        self.kills = 0
        self.unconfigured: set[str] = set()
        """Keys of streams that the settings of the next daemons leave out."""
        self.dice = dice
        self._kafka = kafka
        self._prefix = prefix
        self._directory = directory
        self._connections = connections
        self._exports = exports
        self._open = AsyncExitStack()
        self._walk: asyncio.Task[None] | None = None

    # -- time -------------------------------------------------------------------------------------------------------

    @property
    def day(self) -> float:
        """The days since the world began to move."""
        return (self.simulator.now() - START) / DAY

    def set_out(self, pace: Pace) -> None:
        """From now on the world's time goes at that pace."""
        self.stand()
        self._walk = asyncio.create_task(self._walking(pace), name="the world's time")

    def stand(self) -> None:
        """The world's time stands still."""
        if self._walk is not None:
            self._walk.cancel()
            self._walk = None

    async def until_day(self, day: float) -> None:
        """Return on that day; the daemon is alive all the while."""
        while self.day < day:
            assert not self.daemon.ended, self.daemon.tail()
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def snapshots_of(self, entity_type: str, count: int) -> None:
        """Return when so many more snapshots of the first connection's are completed, all asked for from now on."""
        stream = f"{self._connections[0].name}/{entity_type}"
        known = {export.id for export in self._exports_there()}
        for _ in range(count):
            rows = await self.daemon.until(
                lambda rows: (rows[stream]["last_snapshot"] or {}).get("export_id", "") not in known | {""},
                f"there was another snapshot of {stream}",
            )
            known.add(rows[stream]["last_snapshot"]["export_id"])

    async def _walking(self, pace: Pace) -> None:
        while True:
            await asyncio.sleep(pace.seconds)
            self.simulator.set_clock(now=self.simulator.now() + self.dice.choice(pace.jumps))

    # -- daemons ----------------------------------------------------------------------------------------------------

    @property
    def daemon(self) -> Daemon:
        """The one that runs, or ran last."""
        return self.daemons[-1]

    @property
    def bootstrap_servers(self) -> str:
        """The broker itself, past the proxy."""
        return self._kafka.bootstrap_servers

    def topic(self, entity_type: str) -> str:
        return f"{self._prefix}.{slug(entity_type)}"

    @property
    def streams(self) -> list[tuple[int, str, str]]:
        """Position of the connection, entity type and key of each stream that is configured."""
        return [
            (position, entity_type, f"{connection.name}/{entity_type}")
            for position, connection in enumerate(self._connections)
            for entity_type in connection.entity_types
            if f"{connection.name}/{entity_type}" not in self.unconfigured
        ]

    @property
    def config(self) -> Path:
        """The settings of the daemon that runs, or ran last."""
        return self._directory / f"{self.daemon.name}.toml"

    @property
    def environment(self) -> dict[str, str]:
        """With the secrets that the settings name."""
        tokens = {f"COURSE_TOKEN_{n}": token for n, token in enumerate(self.simulator.settings.access_tokens)}
        return {**tokens, "COURSE_CLIENT_TOKEN": self.simulator.settings.client_token}

    async def start(self, *, scope: Sequence[int] = (), **exports: object) -> Daemon:
        """Another daemon, with some settings of ``[exports]`` changed, and the first connection asking for some
        enterprises only."""
        number = len(self.daemons) + 1
        config = self._directory / f"daemon-{number}.toml"
        config.write_text(self._config({**self._exports, **exports}, scope))
        daemon = Daemon(config, environment=self.environment, name=f"daemon-{number}")
        self.daemons.append(daemon)
        await self._open.enter_async_context(daemon)
        return daemon

    async def restart(self, *, scope: Sequence[int] = (), **exports: object) -> Daemon:
        """End the daemon by SIGTERM, and start another."""
        # Not in the middle of its start.
        shards = {shard_of(key) for _, _, key in self.streams}
        await self.daemon.logged("shard_taken_over", times=len(shards))
        ended = await self.daemon.terminate()
        assert ended.code == 0, self.daemon.tail()
        return await self.start(scope=scope, **exports)

    async def kill(self) -> None:
        """SIGKILL, and start another; what the proxy holds back of it is lost with its connections."""
        await self.daemon.kill()
        self.kills += 1
        await self.proxy.drop()
        await self.start()

    async def kill_in_snapshot(self, entity_type: str) -> None:
        """SIGKILL while it is in the middle of the files of a snapshot, part of it published or found unchanged."""
        rule = FaultRule(on="file", entity_type=entity_type, file_index=1, action=Hold(at_byte=9))
        await self._held(rule, lambda export: export.filters is None)
        await self.kill()

    async def kill_amid_tombstones(self, entity_type: str, *, committed: bool) -> None:
        """SIGKILL while tombstones are sent and their commit is on its way, or done and not yet answered.

        However many they are: on a slow machine so many days pass between two snapshots that the guard would hold
        them back for good.
        """
        await self.restart(max_tombstone_share=1.0)
        wanted = commit_after_tombstones_to(self.topic(entity_type))
        trap = self.proxy.hold_answer(wanted) if committed else self.proxy.hold(wanted)
        await trap.held(within=2 * PATIENCE)
        await self.kill()

    # -- trouble ----------------------------------------------------------------------------------------------------

    def spoil(self, entity_type: str, exports: int) -> None:
        """The next exports of the type have a line that can't become a record, in three different ways."""
        for action in (SpoilLine(how="cut"), SpoilLine(how="no_id"), SpoilLine(how="not_utf8")):
            self.simulator.add_fault(FaultRule(on="add", entity_type=entity_type, action=action, times=exports))

    async def fail_window(self, entity_type: str, longer_than: timedelta) -> None:
        """Mews fails the next window that is longer than this."""

        def is_long(export: Export) -> bool:
            updated = (export.filters or {}).get("UpdatedUtc")
            bounds = [datetime.fromisoformat(updated[name]) for name in ("StartUtc", "EndUtc")] if updated else []
            return bool(bounds) and bounds[1] - bounds[0] > longer_than

        held = await self._held(FaultRule(on="add", entity_type=entity_type, action=Hold()), is_long)
        self.simulator.set_status(held.export_id or "", Status.FAILED)
        self.simulator.release(held.id)

    async def _held(self, rule: FaultRule, wanted: Callable[[Export], bool]) -> Held:
        """What the simulator holds back by this rule, of an export that is wanted; others are let go."""
        number = self.simulator.add_fault(rule)
        deadline = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < deadline:
            try:
                held = (await self.simulator.held(timeout=1.0))[0]
            except TimeoutError:
                if self._has_struck(number):
                    # Whoever was held has left again: a daemon that takes a shard over anew drops its downloads.
                    number = self.simulator.add_fault(rule)
                continue
            if wanted(self.simulator.export(held.export_id or "")):
                return held
            self.simulator.release(held.id)
            number = self.simulator.add_fault(rule)
        state = self.simulator.state()
        told = {name: state[name] for name in ("requests_by_type", "faults", "held")}
        rows = await self.daemon.streams()
        raise AssertionError(f"nothing was held by {rule}: {told}\n{rows}\n{self.daemon.tail(60)}")

    def _has_struck(self, number: int) -> bool:
        return any(state.id == number and state.struck for state in self.simulator.fault_states())

    # -- the end ----------------------------------------------------------------------------------------------------

    async def catch_up(self, *, snapshots: bool) -> None:
        """Let the data stand still, and wait until every stream has completed what it takes to be in step with them:
        a window, and, if wanted, snapshots."""
        self.stand()
        self.simulator.clear_faults()
        self.simulator.hold_still()
        still_at = self.simulator.now()
        self.simulator.set_clock(now=still_at + SETTLED)
        asked = {export.id for export in self._exports_there()}

        def is_in_step(rows: dict[str, Row]) -> bool:
            return all(
                self._has_window(rows[key], still_at, asked)
                and (
                    not snapshots
                    or entity_type == LEDGER
                    or self._has_snapshots(rows[key], position, entity_type, asked)
                )
                for position, entity_type, key in self.streams
            )

        await self.daemon.until(is_in_step, "all streams were in step")

    def _has_window(self, row: Row, still_at: datetime, asked: set[str]) -> bool:
        """Whether its last window was asked for after the data stood still, and reaches beyond that."""
        last = row["last_window"]
        if last is None or last["export_id"] in asked:
            return False
        filters = self.simulator.export(last["export_id"]).filters or {}
        if updated := filters["UpdatedUtc"]:
            return datetime.fromisoformat(updated["EndUtc"]) > still_at
        return date.fromisoformat(filters["LedgerEntryFilters"]["Posting"]["End"]) >= still_at.date()

    def _has_snapshots(self, row: Row, position: int, entity_type: str, asked: set[str]) -> bool:
        """Whether two snapshots were asked for since: with the first one the daemon may not have known the time yet,
        and the scope may have changed before it."""
        token = self.simulator.settings.access_tokens[position]
        since = [
            export.id
            for export in self._exports_there()
            if (export.access_token, export.entity_type, export.filters) == (token, entity_type, None)
            and export.id not in asked
        ]
        return row["last_snapshot"] is not None and row["last_snapshot"]["export_id"] in since[1:]

    def _exports_there(self) -> list[Export]:
        return list(self.simulator.api.exports.values())

    async def published(self) -> Published:
        """All that is committed in the topics of the entities, and the events."""
        types = {entity_type for _, entity_type, _ in self.streams}
        topics = [*map(self.topic, sorted(types)), f"{self._prefix}.exports", f"{self._prefix}.dead-letters"]
        return await asyncio.to_thread(read_committed, self._kafka.bootstrap_servers, topics)

    def truth(self, entity_type: str) -> dict[bytes, bytes]:
        """What the topic of a type has to say: all that its connections reach."""
        positions = [position for position, followed, _ in self.streams if followed == entity_type]
        return {
            key: line
            for position in positions
            for key, line in by_id(self.simulator.truth(entity_type, token=position)).items()
        }

    def verify(self, published: Published) -> None:
        """Every topic is the data set, on the way nothing went back in time and no tombstone came too early, and no
        daemon tells of a defect."""
        for daemon in self.daemons:
            assert not daemon.complaints(), f"{daemon.name}: {daemon.complaints()}"
        moments = {export.id: export.moment for export in self._exports_there() if export.moment is not None}
        found: list[str] = []
        for entity_type in sorted({entity_type for _, entity_type, _ in self.streams}):
            records = published.records[self.topic(entity_type)]
            found += backwards(records)
            found += untimely(records, self.simulator.deleted(entity_type), moments)
            found += (f"{entity_type} {text}" for text in differences(records, self.truth(entity_type)))
        none_of(found)

    async def close(self) -> None:
        """End all daemons. What they said is shown by pytest if the test fails."""
        self.stand()
        await self._open.aclose()
        for daemon in self.daemons[-3:]:
            print(daemon.tail())

    def _config(self, exports: Mapping[str, object], scope: Sequence[int]) -> str:
        connections = []
        for position, connection in enumerate(self._connections):
            table: dict[str, object] = {
                "name": connection.name,
                "platform_url": self.simulator.url,
                "client_token": {"env": "COURSE_CLIENT_TOKEN"},
                "access_token": {"env": f"COURSE_TOKEN_{position}"},
                "entity_types": [entity_type for at, entity_type, _ in self.streams if at == position],
            }
            if scope and position == 0:
                enterprises = self.simulator.state()["enterprises"]
                table["enterprise_ids"] = [enterprises[number] for number in scope]
            if table["entity_types"]:
                connections.append(table)
        return settings_file(
            kafka={
                "bootstrap_servers": [self._kafka.proxied_bootstrap_servers],
                "session_timeout": "3s",
                # So that the proxy can see what is in a batch.
                "compression": "none",
            },
            topics={"prefix": self._prefix, "partitions": 3},
            exports=exports,
            connections=connections,
        )


@asynccontextmanager
async def course(
    kafka: LocalKafka,
    prefix: str,
    directory: Path,
    *,
    connections: Sequence[Connection],
    simulated: Mapping[str, Any],
    exports: Mapping[str, object],
    seed: int = 1,
) -> AsyncIterator[Course]:
    """A course without daemons yet, in a world that begins to move on 1 March and whose time stands still."""
    settings = SimulatorSettings(
        **{
            "access_tokens": tuple(f"course-token-{n}" for n in range(len(connections))),
            "reach": {n: connection.enterprises for n, connection in enumerate(connections)},
            "moving": True,
            "seed": seed,
            "start": START,
            "speed": 0.0,
            "pending_seconds": 0.0,
            "processing_seconds": 0.05,
            "rate_limit": 1_000_000,
            "files": 2,
            **simulated,
        }
    )
    chosen = {"poll_interval": "100ms", "transaction_seconds": 0.2, **exports}
    async with (
        Simulator(settings) as simulator,
        Proxy(kafka.proxied_port, kafka.port_behind_proxy) as proxy,
    ):
        staged = Course(
            kafka=kafka,
            simulator=simulator,
            proxy=proxy,
            prefix=prefix,
            directory=directory,
            connections=connections,
            exports=chosen,
            dice=random.Random(seed),
        )
        try:
            yield staged
        finally:
            simulator.clear_faults()
            await staged.close()
