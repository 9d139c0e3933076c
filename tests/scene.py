"""The whole stage of a kill: the simulator, the proxy before the broker, the daemon's settings, and the verdict."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from streamer.sandbox.exports import Export
from streamer.sandbox.faults import FaultRule, Hold, Operation
from streamer.sandbox.held_requests import Held
from streamer.sandbox.local_kafka import LocalKafka
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.committed import read_committed
from tests.daemon import PATIENCE, Daemon, Row
from tests.facts import Published, Served, slug
from tests.proxy import Proxy
from tests.settings_file import settings_file
from tests.verify import Report, verify

CONNECTION = "alpine"
Through = Callable[[Published], Published]
"""What a consumer makes of the topics before the verifier looks at them."""

ENVIRONMENT = {"SCENE_CLIENT_TOKEN": "demo-client-token", "SCENE_ACCESS_TOKEN": "demo-access-token"}


class Scene:
    """Daemons come and go, simulator and broker stay. ``settings`` are those of ``[exports]``."""

    def __init__(
        self,
        *,
        kafka: LocalKafka,
        simulator: Simulator,
        proxy: Proxy,
        prefix: str,
        directory: Path,
        entity_types: Sequence[str],
        session_timeout: str,
        settings: dict[str, object],
    ) -> None:
        self.simulator = simulator
        self.proxy = proxy
        self.entity_types = entity_types
        self.kills = 0
        self.unfit_is_dead = False
        """Whether lines of an unexpected shape are dead letters (``exports.validate``)."""
        self.daemons: list[Daemon] = []
        self._kafka = kafka
        self._prefix = prefix
        self._directory = directory
        self._session_timeout = session_timeout
        self._settings = settings
        self._open = AsyncExitStack()

    @property
    def checkpoints(self) -> str:
        return f"{self._prefix}.checkpoints"

    @property
    def bootstrap_servers(self) -> str:
        """The broker itself, past the proxy."""
        return self._kafka.bootstrap_servers

    def topic(self, entity_type: str) -> str:
        return f"{self._prefix}.{slug(entity_type)}"

    def stream(self, entity_type: str = "") -> str:
        return f"{CONNECTION}/{entity_type or self.entity_types[0]}"

    # -- daemons ----------------------------------------------------------------------------------------------------

    async def start(self, **settings: object) -> Daemon:
        """Another daemon, with some settings of ``[exports]`` changed for it; its name is its ``kafka.client_id``."""
        number = len(self.daemons) + 1
        config = self._directory / f"daemon-{number}.toml"
        config.write_text(self._config({**self._settings, **settings}, client_id=f"daemon-{number}"))
        daemon = Daemon(config, environment=ENVIRONMENT, name=f"daemon-{number}")
        self.daemons.append(daemon)
        await self._open.enter_async_context(daemon)
        return daemon

    async def kill(self, daemon: Daemon) -> None:
        """SIGKILL; what the proxy holds back of it is lost with its connections."""
        await daemon.kill()
        self.kills += 1
        await self.proxy.drop()

    def _config(self, exports: dict[str, object], *, client_id: str) -> str:
        return settings_file(
            kafka={
                "bootstrap_servers": [self._kafka.proxied_bootstrap_servers],
                "client_id": client_id,
                "session_timeout": self._session_timeout,
            },
            topics={"prefix": self._prefix, "partitions": 4},
            exports=exports,
            connections=[
                {
                    "name": CONNECTION,
                    "platform_url": self.simulator.url,
                    "client_token": {"env": "SCENE_CLIENT_TOKEN"},
                    "access_token": {"env": "SCENE_ACCESS_TOKEN"},
                    "entity_types": self.entity_types,
                }
            ],
        )

    # -- the simulator ----------------------------------------------------------------------------------------------

    def hold(
        self, on: Operation, *, file: int | None = None, at_byte: int | None = None, before: bool = False, skip: int = 0
    ) -> None:
        """Hold back the next such answer of the simulator, after ``skip`` of them."""
        action = Hold(before=before, at_byte=at_byte)
        self.simulator.add_fault(FaultRule(on=on, file_index=file, action=action, skip=skip))

    async def held(self) -> Held:
        """The answer that is being held back, as soon as there is one."""
        try:
            return (await self.simulator.held(timeout=PATIENCE))[0]
        except TimeoutError:
            state = self.simulator.state()
            raise AssertionError(f"the simulator held nothing within {PATIENCE:g} s: {state}") from None

    def exports(self) -> list[Export]:
        """All that the simulator has ever accepted, in that order."""
        return list(self.simulator.api.exports.values())

    # -- the verdict ------------------------------------------------------------------------------------------------

    async def finish(self, daemon: Daemon, through: Through | None = None) -> Report:
        """Let the streams complete what they are at, end the daemon, and verify everything there is."""
        await daemon.until(lambda rows: all(map(is_done, rows.values())), "all exports were complete")
        ended = await daemon.terminate()
        assert ended.code == 0, daemon.tail()
        return await self.verify(through)

    async def checkpoint(self, entity_type: str = "") -> dict[str, Any]:
        """A stream's newest committed checkpoint."""
        published = await asyncio.to_thread(read_committed, self.bootstrap_servers, [self.checkpoints])
        key = self.stream(entity_type).encode()
        records = [record for record in published.records[self.checkpoints] if record.key == key]
        checkpoint: dict[str, Any] = json.loads(records[-1].value or b"")
        return checkpoint

    async def verify(self, through: Through | None = None) -> Report:
        """Compare what is committed, as it comes ``through``, with what was served; and no daemon tells of a defect."""
        for daemon in self.daemons:
            assert not daemon.complaints(), f"{daemon.name}: {daemon.complaints()}"
        names = ["exports", "dead-letters", "checkpoints", *map(slug, self.entity_types)]
        topics = [f"{self._prefix}.{name}" for name in names]
        published = await asyncio.to_thread(read_committed, self.bootstrap_servers, topics)
        published = through(published) if through else published
        served = {export.id: _served(export) for export in self.exports()}
        verifying = partial(verify, prefix=self._prefix, connection=CONNECTION, unfit_is_dead=self.unfit_is_dead)
        report = await asyncio.to_thread(verifying, published, served)
        print(f"{self.kills} kills, {len(self.daemons)} daemons: {report}")
        return report

    async def close(self) -> None:
        """End all daemons. What they said is shown by pytest if the test fails."""
        await self._open.aclose()
        for daemon in self.daemons:
            print(daemon.tail())


def is_done(row: Row) -> bool:
    """Whether the stream has completed an export and is at no other."""
    return row["phase"] == "idle" and row["last_snapshot"] is not None


def _served(export: Export) -> Served:
    def contents(index: int) -> bytes:
        file = export.files[index]
        return b"".join(file.read(0, file.size))

    return Served(export.entity_type, tuple(partial(contents, index) for index in range(len(export.files))))


@asynccontextmanager
async def staged(
    kafka: LocalKafka,
    prefix: str,
    directory: Path,
    *,
    entity_types: Sequence[str] = ("Reservation",),
    session_timeout: str = "3s",
    simulated: dict[str, Any] | None = None,
    **settings: object,
) -> AsyncIterator[Scene]:
    """A scene without daemons yet: one connection, small blocks, exports that are ready at once."""
    chosen = {
        "poll_interval": "250ms",
        "update_interval": "off",
        "transaction_bytes": 250_000,
        "transaction_seconds": 0.3,
        **settings,
    }
    quick = {"pending_seconds": 0.1, "processing_seconds": 0.1, "rate_limit": 100_000}
    # Slow enough that blocks are small, and an export is many of them.
    quick |= {"entities": 2000, "bytes_per_second": 3e6}
    async with (
        Simulator(SimulatorSettings(**{**quick, **(simulated or {})})) as simulator,
        Proxy(kafka.proxied_port, kafka.port_behind_proxy) as proxy,
    ):
        scene = Scene(
            kafka=kafka,
            simulator=simulator,
            proxy=proxy,
            prefix=prefix,
            directory=directory,
            entity_types=entity_types,
            session_timeout=session_timeout,
            settings=chosen,
        )
        try:
            yield scene
        finally:
            simulator.clear_faults()
            await scene.close()
