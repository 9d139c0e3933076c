"""Several daemons with one config: who has which shard by their own words, and a frozen one among them."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Producer

from tests.committed import read_committed
from tests.daemon import ASK_AGAIN_SECONDS, PATIENCE, Daemon, Row
from tests.facts import murmur2
from tests.scene import Scene
from tests.secured import client

SHARDS = 16


def shard_of(stream: str) -> int:
    """The shard that a stream belongs to for ever."""
    return murmur2(stream.encode()) % SHARDS


def assigned(daemon: Daemon) -> frozenset[int]:
    """Its shards by its newest word about them; none while it is between two assignments, or gone."""
    words = [] if daemon.ended else daemon.said
    for line in reversed(words):
        if line.get("event") in {"shards_assigned", "shards_revoked"}:
            return frozenset(line["shards"] if line["event"] == "shards_assigned" else ())
    return frozenset()


async def settled(*daemons: Daemon, within: float = PATIENCE) -> dict[int, Daemon]:
    """Wait until all of the daemons have shards and each shard is one's; who has it."""
    deadline = time.monotonic() + within
    while True:
        shares = {daemon: assigned(daemon) for daemon in daemons}
        owners = {shard: daemon for daemon, shards in shares.items() for shard in shards}
        if all(shares.values()) and sum(map(len, shares.values())) == len(owners) == SHARDS:
            return owners
        if time.monotonic() > deadline:
            told = {daemon.name: sorted(shards) for daemon, shards in shares.items()}
            tails = "\n".join(daemon.tail() for daemon in daemons)
            raise AssertionError(f"the shards were not shared out within {within:g} s: {told}\n{tails}")
        await asyncio.sleep(ASK_AGAIN_SECONDS)


async def gauge(daemon: Daemon, name: str, stream: str, wanted: Callable[[float], bool]) -> float:
    """Wait until a gauge of the stream is as wanted; its value."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = await daemon.metric(name, stream)
        if value is not None and wanted(value):
            return value
        assert time.monotonic() < deadline, f"{name} of {stream} stays at {value}\n{daemon.tail()}"
        await asyncio.sleep(ASK_AGAIN_SECONDS)


def take_overs(daemons: Iterable[Daemon], stream: str) -> int:
    """How often the daemons have taken over the stream's shard, all together."""
    shard = shard_of(stream)
    return sum(line["shard"] == shard for daemon in daemons for line in daemon.events("shard_taken_over"))


def losses(daemon: Daemon, stream: str) -> int:
    """How often the daemon has lost its producer of the stream's shard."""
    return sum(line["shard"] == shard_of(stream) for line in daemon.events("session_lost"))


def works(row: Row, daemon: Daemon) -> bool:
    """Whether it was this daemon that has last committed anything of the stream."""
    parts = str(row.get("owner")).split("/")
    return len(parts) == 3 and parts[1] == str(daemon.pid)


def publishes(row: Row, daemon: Daemon) -> bool:
    """Whether this daemon has committed records of the export under way."""
    return works(row, daemon) and row["phase"] == "publishing" and row["export"]["bytes"] > 0


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint and where it lies."""

    place: tuple[int, int]
    stream: str
    fields: dict[str, Any]


async def checkpoints(scene: Scene) -> list[Checkpoint]:
    """Every checkpoint ever committed, those of one stream in the order in which they were."""
    published = await asyncio.to_thread(read_committed, scene.bootstrap_servers, [scene.checkpoints])
    return [
        Checkpoint((record.partition, record.offset), (record.key or b"").decode(), json.loads(record.value or b"{}"))
        for record in published.records[scene.checkpoints]
    ]


class Frozen:
    """A daemon between SIGSTOP and SIGCONT, and what came of it after that."""

    def __init__(self, scene: Scene, daemon: Daemon) -> None:
        daemon.strike(signal.SIGSTOP)
        self.daemon = daemon
        self._scene = scene
        self._since = time.monotonic()
        self._before: dict[tuple[int, int], Checkpoint] = {}
        self._said = 0

    async def wake(self, *, after: float = 0.0) -> None:
        """SIGCONT, ``after`` so many seconds of sleep at least."""
        await asyncio.sleep(max(0.0, self._since + after - time.monotonic()))
        self._before = {checkpoint.place: checkpoint for checkpoint in await checkpoints(self._scene)}
        self._said = len(self.daemon.said)
        self.daemon.strike(signal.SIGCONT)

    async def takes_part_again(self) -> None:
        """Wait until it has learned that it was thrown out, and has shards again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            events = [line.get("event") for line in self.daemon.said[self._said :]]
            if "shards_revoked" in events and assigned(self.daemon):
                return
            assert not self.daemon.ended, f"it ended\n{self.daemon.tail()}"
            assert time.monotonic() < deadline, f"no shards within {PATIENCE:g} s\n{self.daemon.tail()}"
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def check_that_nothing_old_became_visible(self) -> None:
        """What it has committed since it woke, it committed after a take-over, in a term of its own."""
        terms: dict[str, int] = {}
        for checkpoint in self._before.values():
            terms[checkpoint.stream] = max(checkpoint.fields["term"], terms.get(checkpoint.stream, 0))
        late = [
            checkpoint
            for checkpoint in await checkpoints(self._scene)
            if checkpoint.place not in self._before
            and works(checkpoint.fields, self.daemon)
            and checkpoint.fields["term"] <= terms.get(checkpoint.stream, 0)
        ]
        assert not late, f"{self.daemon.name} went on as if it had not slept: {late}\n{self.daemon.tail()}"


async def write_checkpoint(scene: Scene, stream: str, fields: dict[str, Any]) -> bytes:
    """Write a checkpoint as another version of the daemon might; the record's value. No daemon may run meanwhile."""
    value = json.dumps(fields).encode()

    def write() -> None:
        producer = Producer(client(scene.bootstrap_servers))
        producer.produce(scene.checkpoints, value, stream.encode(), shard_of(stream))
        assert producer.flush(30) == 0, "the checkpoint could not be written"

    await asyncio.to_thread(write)
    return value
