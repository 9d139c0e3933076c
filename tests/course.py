"""A world that moves, daemons that follow it and are killed on the way, and the topics that they leave behind.

The world's time goes in jumps, as a background task, and stands still in between: so windows that follow one another
closely meet late rows, and others have days to catch up with. The daemons live in real time all the while.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from streamer.sandbox.local_kafka import LocalKafka
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.committed import read_committed
from tests.daemon import ASK_AGAIN_SECONDS, Daemon, Row
from tests.facts import Published, slug
from tests.group import shard_of
from tests.proxy import Proxy
from tests.reckoning import backwards, by_id, differences, none_of, untimely
from tests.settings_file import settings_file
from tests.standstill import Standstill

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
        known = set(self.simulator.api.exports)
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

    # -- the end ----------------------------------------------------------------------------------------------------

    async def catch_up(self, *, snapshots: bool) -> None:
        """Let the data stand still, and wait until every stream has completed what it takes to be in step with them:
        a window, and, if wanted, snapshots."""
        self.stand()
        self.simulator.clear_faults()
        still = Standstill.of(self.simulator)
        self.simulator.set_clock(now=still.at + SETTLED)

        def is_in_step(rows: dict[str, Row]) -> bool:
            return all(
                still.has_window(rows[key])
                and (
                    not snapshots
                    or entity_type == LEDGER
                    or still.has_snapshots(rows[key], self.simulator.settings.access_tokens[position], entity_type)
                )
                for position, entity_type, key in self.streams
            )

        await self.daemon.until(is_in_step, "all streams were in step")

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
        exports = self.simulator.api.exports.values()
        moments = {export.id: export.moment for export in exports if export.moment is not None}
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
