"""A bench whose world changes from snapshot to snapshot, and what its topic must be after each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamer.core.blocks import digest_of
from streamer.core.checkpoint import Checkpoint
from streamer.core.events import Outcome
from tests.memory_kafka import Record
from tests.unit.service.life_bench import BILLS, SHARD, Bench, expected

World = Mapping[str, int]
"""Entities by Id, and their versions."""

FIRST: World = {f"{n:02}": 1 for n in range(16)}
"""All there is at first: few enough that every one of them may be gone."""

SECOND: World = {**{id: version for id, version in FIRST.items() if id not in ("03", "08", "12")}, "05": 2, "20": 1}
"""Three are gone, one is changed, one is new."""


def line(id: str, version: int, **more: Any) -> bytes:
    return json.dumps({"Id": id, "V": version, **more}).encode()


def files_of(world: World, *, extra: bytes = b"") -> list[bytes]:
    """The world in two files, the second without a newline at its end."""
    lines = [line(id, version) for id, version in world.items()]
    half = len(lines) // 2
    return [extra + b"\n".join(lines[:half]) + b"\n", b"\n".join(lines[half:])]


class Moving(Bench):
    """A bench whose world changes between snapshots."""

    def __init__(self, *, block_bytes: int = 60, **settings: Any) -> None:
        super().__init__([], once=False, block_bytes=block_bytes, reconciles=True, **settings)
        self.shown: dict[str, list[bytes]] = {}
        """The files of each export."""

    def show(self, files: Sequence[bytes]) -> None:
        """What the next export holds, which is due now."""
        self.pass_idle_time()
        self.mews.files = {f"part-{n}.jsonl": content for n, content in enumerate(files)}
        self.shown[f"e{len(self.mews.added) + 1}"] = list(files)

    async def snapshots(self, *worlds: World | Sequence[bytes]) -> None:
        """One snapshot after the other, each of such a world."""
        self.clock.stopping.clear()
        async with self.living():
            for world in worlds:
                self.show(files_of(world) if isinstance(world, Mapping) else world)
                before = len(self.completed)
                await self.until(lambda: len(self.completed) > before, every=60, limit=40 * 3600)  # noqa: B023
        self.check()

    async def put(self, change: Callable[[Checkpoint], Checkpoint]) -> None:
        """Change the checkpoint behind the stream's back."""
        session = await self.take(SHARD)
        await session.commit(
            self.stream.key, lambda _: Outcome(change(session.checkpoint(self.stream.key) or Checkpoint()))
        )
        await session.close()

    @property
    def completed(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == "export_completed"]

    @property
    def records(self) -> list[Record]:
        return self.kafka.committed(BILLS)

    def view(self) -> dict[str, int]:
        """The topic as it is after compaction."""
        newest = {record.key.decode(): record.value for record in self.records}
        return {id: json.loads(value)["V"] for id, value in newest.items() if value is not None}

    def counts(self, number: int = -1) -> tuple[int, int, int, int]:
        """Records, unchanged, tombstones and withheld of a completed export."""
        done = self.completed[number]
        return done["records"], done["unchanged"], done["tombstones"], done["tombstones_withheld"]

    def check(self) -> None:
        """Each completed export accounts for its lines, nothing is there twice, and nobody living was buried."""
        ids = [record.ce_id for record in self.records if record.headers]
        assert len(ids) == len(set(ids))
        for event in self.completed:
            export_id = event["export_id"]
            good, bad, blank = expected(self.shown[export_id])
            assert event["lines"] == len(good) + len(bad) + blank
            assert event["lines"] == event["records"] + event["unchanged"] + event["dead_letters"] + event["blank"]
            assert (event["dead_letters"], event["blank"]) == (len(bad), blank)
            assert event["bytes"] == sum(map(len, self.shown[export_id]))
            own = [record for record in self.records if record.headers and record.ce_id.startswith(f"{export_id}/")]
            lines = dict(good)
            living = {json.loads(value)["Id"] for value in lines.values()}
            for record in own:
                if record.value is None:
                    assert record.ce_id == f"{export_id}/gone/{record.key.decode()}"
                    assert "content-type" not in dict(record.headers)
                    assert record.key.decode() not in living
                else:
                    assert record.value == lines[record.ce_id.removeprefix(f"{export_id}/")]
            assert event["partitions"] == {
                str(partition): summary([record for record in own if record.partition == partition])
                for partition in sorted({record.partition for record in own})
            }


def summary(records: Sequence[Record]) -> dict[str, Any]:
    offsets = [record.offset for record in records]
    tombstones = sum(record.value is None for record in records)
    digest = sum(digest_of(record.key, record.value or b"") for record in records) % 2**64
    return {
        "records": len(records) - tombstones,
        "tombstones": tombstones,
        "start": min(offsets),
        "end": max(offsets) + 1,
        "digest": f"{digest:016x}",
    }
