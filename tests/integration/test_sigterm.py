"""SIGTERM at the same tender moments: out within 10 s with exit code 0, what was in hand committed, nothing twice.

The session timeout is 30 s here, so a restart that has its shards long before that proves that the last daemon left the
group in good order.
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamer.sandbox.exports import Status
from streamer.sandbox.faults import Drip, FaultRule
from streamer.sandbox.local_kafka import LocalKafka
from tests.daemon import PATIENCE, Daemon
from tests.proxy import Api, Trap, commit_after_records_to, request
from tests.scene import Scene, staged

TYPE = "Reservation"
LINES = 2000
LONGEST_SECONDS = 10.0
SESSION_SECONDS = 30

IN_TIME_SECONDS = 5.0
"""Where nothing is waited for: far less than the time that streams get to commit what they have in hand."""


@asynccontextmanager
async def scenery(kafka: LocalKafka, prefix: str, directory: Path, **more: Any) -> AsyncIterator[Scene]:
    async with staged(kafka, prefix, directory, session_timeout=f"{SESSION_SECONDS}s", **more) as scene:
        yield scene


async def leaves(daemon: Daemon, *, let_go: Trap | None = None, within: float = LONGEST_SECONDS) -> None:
    """SIGTERM, and a good end. What the proxy holds back is let go once the daemon drains."""
    since = time.monotonic()
    daemon.strike(signal.SIGTERM)
    if let_go is not None:
        await daemon.logged("draining")
        let_go.release()
    ended = await daemon.over(since=since)
    print(f"ended {ended.seconds:.2f} s after SIGTERM")
    assert ended.code == 0, daemon.tail()
    assert ended.seconds < within, daemon.tail()
    assert not daemon.events("left_uncleanly"), daemon.tail()


async def goes_on_at_once(scene: Scene) -> Daemon:
    """Another daemon, which has its shards long before the session of the last one would have timed out."""
    since = time.monotonic()
    daemon = await scene.start()
    await daemon.logged("shard_taken_over")
    assert time.monotonic() - since < SESSION_SECONDS / 2, daemon.tail()
    return daemon


async def completes(scene: Scene, *, exports: int = 1) -> None:
    """A new daemon goes on at once and completes what the last one was at; every line is there once."""
    report = await scene.finish(await goes_on_at_once(scene))
    assert (report.completed, report.cycles, report.records) == (1, 1, LINES)
    assert len(scene.exports()) == exports


async def test_it_leaves_before_it_has_begun(local_kafka: LocalKafka, prefix: str, tmp_path: Path) -> None:
    async with scenery(local_kafka, prefix, tmp_path) as scene:
        daemon = await scene.start()
        await daemon.logged("listening")
        await leaves(daemon)
        await completes(scene)


async def test_it_leaves_while_add_is_not_answered(local_kafka: LocalKafka, prefix: str, tmp_path: Path) -> None:
    async with scenery(local_kafka, prefix, tmp_path) as scene:
        scene.hold("add")
        daemon = await scene.start()
        await scene.held()
        await leaves(daemon)
        assert (await scene.checkpoint())["state"]["phase"] == "requesting"
        await completes(scene, exports=2)


async def test_an_id_that_comes_while_it_leaves_is_committed(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with scenery(local_kafka, prefix, tmp_path) as scene:
        scene.hold("add")
        daemon = await scene.start()
        await scene.held()
        daemon.strike(signal.SIGTERM)
        since = time.monotonic()
        await daemon.logged("draining")
        scene.simulator.release()
        ended = await daemon.over(since=since)
        assert (ended.code, ended.seconds < IN_TIME_SECONDS) == (0, True), daemon.tail()
        state = (await scene.checkpoint())["state"]
        assert (state["phase"], state["export_id"]) == ("waiting", scene.exports()[0].id)
        await completes(scene)


@pytest.mark.parametrize("api", [Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE, Api.END_TXN], ids=lambda api: api.name.lower())
async def test_an_id_whose_commit_is_under_way_is_committed(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, api: Api
) -> None:
    async with scenery(local_kafka, prefix, tmp_path) as scene:
        scene.hold("add")
        daemon = await scene.start()
        await scene.held()
        trap = scene.proxy.hold(request(api))
        scene.simulator.release()
        await trap.held()
        await daemon.logged("export_accepted")
        await leaves(daemon, let_go=trap)
        assert (await scene.checkpoint())["state"]["phase"] == "waiting"
        await completes(scene)


async def test_a_shard_that_moves_away_while_it_leaves_is_no_failure(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    # Two streams in shards far from each other: with a second member, one of them moves.
    types = (TYPE, "AvailabilityBlock")
    async with scenery(local_kafka, prefix, tmp_path, entity_types=types) as scene:
        scene.hold("add")
        scene.hold("add")
        first = await scene.start()
        await first.logged("shard_taken_over", times=2)
        await scene.simulator.held(2, timeout=PATIENCE)
        joining = scene.proxy.hold(request(Api.JOIN_GROUP))
        second = await scene.start()
        await joining.held()
        await leaves(first, let_go=joining)
        assert first.events("shard_given_up"), first.tail()
        scene.simulator.release()
        report = await scene.finish(second)
        assert (report.completed, report.cycles, report.records) == (2, 2, 2 * LINES)


async def test_it_leaves_while_it_waits_for_the_export(local_kafka: LocalKafka, prefix: str, tmp_path: Path) -> None:
    # Polls every minute: the wait itself has to end.
    async with scenery(local_kafka, prefix, tmp_path, poll_interval="1m") as scene:
        scene.hold("add")
        daemon = await scene.start()
        await scene.held()
        export = scene.exports()[0].id
        scene.simulator.set_status(export, Status.PENDING)
        scene.simulator.release()
        await daemon.until(lambda rows: rows[scene.stream()]["phase"] == "waiting", "the stream was waiting")
        await leaves(daemon, within=IN_TIME_SECONDS)
        scene.simulator.set_status(export, None)
        await completes(scene)


async def test_it_leaves_in_mid_file_and_commits_what_it_has_in_hand(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    rate = 150_000.0
    async with scenery(local_kafka, prefix, tmp_path, transaction_seconds=5.0) as scene:
        scene.simulator.add_fault(FaultRule(on="file", action=Drip(bytes_per_second=rate)))
        daemon = await scene.start()
        stream = scene.stream()
        rows = await daemon.until(
            lambda rows: rows[stream]["phase"] == "publishing" and rows[stream]["export"]["bytes"] > 0,
            "the first block was committed",
        )
        committed = rows[stream]["export"]["bytes"]
        # The next block is not full yet, but some of it has come.
        enough = scene.simulator.file_bytes_sent + int(rate / 2)
        await daemon.until(lambda _: scene.simulator.file_bytes_sent >= enough, "more of the file had come")
        before = await scene.checkpoint()
        await leaves(daemon, within=IN_TIME_SECONDS)
        after = await scene.checkpoint()
        assert after["state"]["position"]["offset"] > before["state"]["position"]["offset"]
        assert after["state"]["counts"]["size"] >= committed + rate / 4
        await completes(scene)
        assert scene.simulator.file_bytes_sent < 1.5 * sum(file.size for file in scene.exports()[0].files)


async def test_it_leaves_while_a_download_is_stalled(local_kafka: LocalKafka, prefix: str, tmp_path: Path) -> None:
    async with scenery(local_kafka, prefix, tmp_path) as scene:
        scene.hold("file", file=1, at_byte=400_000)
        daemon = await scene.start()
        await scene.held()
        await leaves(daemon, within=IN_TIME_SECONDS)
        assert (await scene.checkpoint())["state"]["position"]["file"] >= 1
        await completes(scene)


@pytest.mark.parametrize("answered", [False, True], ids=["before_the_commit", "before_its_answer"])
async def test_records_that_are_sent_are_committed(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, answered: bool
) -> None:
    async with scenery(local_kafka, prefix, tmp_path) as scene:
        wanted = commit_after_records_to(scene.topic(TYPE), skip=2)
        trap = scene.proxy.hold_answer(wanted) if answered else scene.proxy.hold(wanted)
        daemon = await scene.start()
        await trap.held()
        rows = await daemon.streams()
        await leaves(daemon, let_go=trap, within=IN_TIME_SECONDS)
        state = (await scene.checkpoint())["state"]
        # The one that was under way, and what had been gathered behind it meanwhile.
        assert state["counts"]["size"] > rows[scene.stream()]["export"]["bytes"]
        await completes(scene)


async def test_it_leaves_between_two_files(local_kafka: LocalKafka, prefix: str, tmp_path: Path) -> None:
    async with scenery(local_kafka, prefix, tmp_path) as scene:
        scene.hold("file", file=1)
        daemon = await scene.start()
        await scene.held()
        stream = scene.stream()
        await daemon.until(
            lambda rows: rows[stream]["phase"] == "publishing" and rows[stream]["export"]["file"] == 1,
            "file 1 was next",
        )
        await leaves(daemon, within=IN_TIME_SECONDS)
        await completes(scene)


async def test_it_leaves_when_it_is_idle_and_asks_for_nothing_after_a_restart(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with scenery(local_kafka, prefix, tmp_path) as scene:
        await scene.finish(await scene.start())
        await completes(scene)
