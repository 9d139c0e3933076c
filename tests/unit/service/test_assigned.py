"""The work on the shards that a replica is given, as far as it is about who waits for what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from streamer.metrics import Metrics
from streamer.model import Shard
from streamer.service.assigned import AssignedShards
from streamer.service.clock import Clock
from tests.unit.config_files import CONNECTION, load
from tests.unit.kafka.test_stopping import fails
from tests.unit.service.life_bench import START


class Group:
    """Between two assignments."""

    def __init__(self) -> None:
        self.assignment: frozenset[Shard] | None = None
        self.unassigned_since = 0.0
        self.changed = asyncio.Event()


class Counting(AssignedShards):
    looks = 0

    async def _until_changed(self) -> None:
        self.looks += 1
        assert self.looks <= 13, "it looks again and again"
        await super()._until_changed()


def shards(directory: Path) -> Counting:
    loop = asyncio.get_running_loop()
    nobody = cast("Any", None)
    return Counting(
        load(directory, CONNECTION),
        owner="me",
        topics={},
        streams={},
        ownership=cast("Any", Group()),
        reader=nobody,
        signals=nobody,
        leavings=nobody,
        clock=Clock(now=lambda: START, monotonic=loop.time, dice=lambda: 1.0),
        metrics=Metrics(),
        once=False,
    )


@pytest.mark.parametrize("given_up", [False, True], ids=["done", "given up"])
async def test_work_that_has_ended_wakes_nobody_again_and_again(tmp_path: Path, given_up: bool) -> None:
    """With nothing assigned, which can last: a core would be busy with it."""
    work = shards(tmp_path)
    ended = asyncio.create_task(asyncio.sleep(0))
    (work._ending if given_up else work.working)[Shard(3)] = ended
    following = asyncio.create_task(work.follow())
    await asyncio.sleep(10)
    assert not following.done()
    following.cancel()
    assert not work._ending


async def test_a_defect_in_the_work_on_a_shard_is_told_also_between_two_assignments(tmp_path: Path) -> None:
    work = shards(tmp_path)
    work.working[Shard(3)] = asyncio.create_task(fails(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await work.follow()
