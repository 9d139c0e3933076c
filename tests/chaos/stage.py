"""What chaos happens to: brokers behind proxies, the simulator in bad weather, the daemons, and the reckoner."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from streamer.sandbox.faults import FaultRule
from streamer.sandbox.held_requests import Held
from streamer.sandbox.local_cluster import LocalKafkaCluster
from streamer.sandbox.local_kafka import LocalKafka
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.chaos.fleet import Fleet
from tests.chaos.reckoner import Subject, Verdict, reckon, told
from tests.chaos.weather import ACCESS_TOKEN, CLIENT_TOKEN, LINK_CANARY, untidy_files, weather
from tests.facts import slug
from tests.proxy import Proxy, Trap
from tests.secured import broker_security, grant_rights
from tests.settings_file import settings_file

CONNECTION = "alpine"
PREFIX = "chaos"
ENTITY_TYPES = ("Reservation", "OrderItem", "Payment", "Customer", "Company", "Bill", "ResourceBlock")
"""OrderItem and Customer share a shard, the others have one each."""

UNTIDY_TYPE = "ResourceBlock"
UNTIDY_LINES = 600
FILES = 3
LINE_BYTES = 200
TRANSACTION_BYTES = 400_000
CHAOS_BYTES_PER_SECOND = 8e6
RECOVERY_BYTES_PER_SECOND = 1e5
"""Of each download. Every stream commits every half second, and nobody wants for the processor meanwhile: what is
measured is the recovery alone."""
LONGEST_STALL_SECONDS = 15.0
FIRST_REPLICAS = 2


@dataclass(frozen=True)
class Settings:
    """What can be chosen about a run."""

    seed: int = 1
    minutes: float = 3.0
    brokers: int = 1
    entities: int = 20_000
    lifelike: bool = False
    session_timeout: float = 6.0
    pause: float = 1.0
    """Stretches the times between what befalls daemons."""
    reconcile: bool = False
    """Snapshots are compared with their topics. Off: every line of each is published, and so there is more to lose."""
    recovery: int = 0
    """Not chaos, but so many kills, ends and broker crashes, one at a time and in good weather."""


class Stage:
    """Everything that a run is made of. Nothing here decides what happens when."""

    def __init__(
        self,
        settings: Settings,
        *,
        nodes: Sequence[LocalKafka],
        cluster: LocalKafkaCluster | None,
        proxies: Sequence[Proxy],
        simulator: Simulator,
        directory: Path,
    ) -> None:
        self.settings = settings
        self.nodes = nodes
        self.cluster = cluster
        self.proxies = proxies
        self.simulator = simulator
        self.verdict = Verdict()
        self.aimed: set[int] = set()
        """The held requests that somebody is doing something about."""
        self._directory = directory
        self._out: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()
        self._served = 0
        logs = directory / "logs"
        logs.mkdir(exist_ok=True)
        self.fleet = Fleet(
            self._write_config("chaos.toml", "1s"),
            environment={"CHAOS_CLIENT_TOKEN": CLIENT_TOKEN, "CHAOS_ACCESS_TOKEN": ACCESS_TOKEN},
            search=lambda place, text: self._out.put_nowait(("search", place, text)),
            logs=logs,
            wanted=FIRST_REPLICAS,
        )
        # No more exports are asked for: what is under way comes to its end.
        self.last_config = self._write_config("last.toml", "7d")

    def topic(self, entity_type: str) -> str:
        return f"{PREFIX}.{slug(entity_type)}"

    def stream(self, entity_type: str) -> str:
        return f"{CONNECTION}/{entity_type}"

    # -- traps ------------------------------------------------------------------------------------------------------

    def arm(self, trap: Trap) -> Trap:
        """At the proxies of all brokers."""
        for proxy in self.proxies:
            proxy.arm(trap)
        return trap

    async def cut_connections(self) -> None:
        await asyncio.gather(*(proxy.drop() for proxy in self.proxies))

    async def held(self, rule: FaultRule, within: float) -> Held | None:
        """Have the simulator hold back such an answer; the one that it holds, None if none comes in time."""
        before = {held.id for held in self.simulator.held_requests.listed()}
        self.simulator.add_fault(rule)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while loop.time() < deadline:
            for held in self.simulator.held_requests.listed():
                fits = held.on == rule.on and rule.entity_type in {None, held.entity_type}
                if held.id not in before and fits and rule.file_index in {None, held.file_index}:
                    self.aimed.add(held.id)
                    return held
            await asyncio.sleep(0.01)
        return None

    async def end_stalls(self) -> None:
        """Stalled downloads go on after a while (a daemon gives up after a minute by itself); for ever."""
        loop = asyncio.get_running_loop()
        seen: dict[int, float] = {}
        while True:
            await asyncio.sleep(0.5)
            listed = {held.id for held in self.simulator.held_requests.listed()} - self.aimed
            seen = {held: seen.get(held, loop.time()) for held in listed}
            for held, since in seen.items():
                if loop.time() - since > LONGEST_STALL_SECONDS:
                    self.simulator.release(held)

    # -- the reckoner -----------------------------------------------------------------------------------------------

    def subject(self) -> Subject:
        return Subject(
            bootstrap_servers=",".join(node.bootstrap_servers for node in self.nodes),
            prefix=PREFIX,
            connection=CONNECTION,
            entity_types=ENTITY_TYPES,
            secrets=(CLIENT_TOKEN, ACCESS_TOKEN, LINK_CANARY),
            seed=self.settings.seed,
            line_bytes=None if self.settings.lifelike else LINE_BYTES,
        )

    async def converse(self) -> None:
        """Tell the reckoner of new exports, and hear from it, until it has finished."""
        here, there = multiprocessing.Pipe()
        # Spawned: a fork of a process with threads and a loop would hold what they hold.
        process = multiprocessing.get_context("spawn").Process(target=reckon, args=(self.subject(), there), daemon=True)
        process.start()
        there.close()
        sender = asyncio.create_task(self._send(here))
        try:
            while not self.verdict.finished:
                for export in list(self.simulator.api.exports.values())[self._served :]:
                    self._out.put_nowait(("serve", told(export.id, export.entity_type, export.files)))
                    self._served += 1
                while here.poll():
                    self.verdict = here.recv()
                assert process.is_alive() or self.verdict.finished, "the reckoner has failed, see above"
                if sender.done():
                    sender.result()
                await asyncio.sleep(0.05)
        finally:
            sender.cancel()
            process.kill()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(sender, return_exceptions=True)

    def finish_reckoning(self) -> None:
        """Nothing more will be published."""
        self._out.put_nowait(("finish",))

    async def _send(self, pipe: multiprocessing.connection.Connection) -> None:
        # In a thread: the reckoner hears only between two batches, and a pipe holds little.
        while True:
            await asyncio.to_thread(pipe.send, await self._out.get())

    # -- settings of the daemons ------------------------------------------------------------------------------------

    def _write_config(self, name: str, snapshot_interval: str) -> Path:
        config = self._directory / name
        text = settings_file(
            kafka={
                "bootstrap_servers": [node.proxied_bootstrap_servers for node in self.nodes],
                "session_timeout": f"{self.settings.session_timeout:g}s",
            },
            topics={
                "prefix": PREFIX,
                "partitions": 4,
                # Nothing is cleaned away while somebody reads.
                "config": {f"{PREFIX}.checkpoints": {"min.compaction.lag.ms": "864000000"}},
            },
            exports={
                "poll_interval": "500ms",
                "update_interval": "off",
                "snapshot_interval": snapshot_interval,
                "reconcile": self.settings.reconcile,
                "transaction_bytes": TRANSACTION_BYTES,
                "transaction_seconds": 0.5,
            },
            connections=[
                {
                    "name": CONNECTION,
                    "platform_url": self.simulator.url,
                    "client_token": {"env": "CHAOS_CLIENT_TOKEN"},
                    "access_token": {"env": "CHAOS_ACCESS_TOKEN"},
                    "entity_types": ENTITY_TYPES,
                }
            ],
        )
        config.write_text(text)
        return config


@asynccontextmanager
async def staged(settings: Settings, directory: Path) -> AsyncIterator[Stage]:
    """Brokers, proxies and simulator, with no daemon yet."""
    simulated = SimulatorSettings(
        client_token=CLIENT_TOKEN,
        access_tokens=(ACCESS_TOKEN,),
        seed=settings.seed,
        entities=settings.entities,
        files=FILES,
        lines="lifelike" if settings.lifelike else "fixed",
        line_bytes=LINE_BYTES,
        pending_seconds=0.1,
        processing_seconds=0.1,
        rate_limit=100_000,
        bytes_per_second=RECOVERY_BYTES_PER_SECOND if settings.recovery else CHAOS_BYTES_PER_SECOND,
    )
    async with AsyncExitStack() as opened:
        cluster = (
            LocalKafkaCluster(directory / "kafka", proxied=True, security=broker_security())
            if settings.brokers > 1
            else None
        )
        nodes = (
            cluster.nodes if cluster else (LocalKafka(directory / "kafka", proxied_port=0, security=broker_security()),)
        )
        brokers = cluster or nodes[0]
        await asyncio.to_thread(brokers.start)
        opened.callback(brokers.stop)
        grant_rights(brokers.bootstrap_servers)
        nodes = cluster.nodes if cluster else nodes
        simulator = await opened.enter_async_context(Simulator(simulated))
        proxies = [await opened.enter_async_context(Proxy(node.proxied_port, node.port_behind_proxy)) for node in nodes]
        simulator.set_data(UNTIDY_TYPE, untidy_files(settings.seed, UNTIDY_LINES))
        if not settings.recovery:
            for rule in weather(settings.seed, settings.entities * LINE_BYTES // FILES):
                simulator.add_fault(rule)
        stage = Stage(settings, nodes=nodes, cluster=cluster, proxies=proxies, simulator=simulator, directory=directory)
        try:
            yield stage
        finally:
            simulator.clear_faults()
            await stage.fleet.close()
