"""Exports whose id nobody has, or that somebody else has asked for: waited for in sight of all, never published."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamer.sandbox.exports import Export, Status
from streamer.sandbox.faults import FaultRule, Hold, Lost
from streamer.sandbox.local_kafka import LocalKafka
from tests.committed import read_committed
from tests.daemon import Daemon
from tests.group import Frozen, gauge, settled, write_checkpoint
from tests.proxy import Api, Request, Wanted, request
from tests.scene import ENVIRONMENT, Scene, is_done, staged

LINES = 2000
SESSION_SECONDS = 3.0


async def somebody_elses(scene: Scene, entity_type: str) -> Export:
    """An export that another program asks for with the same token; it stays in work until it is told to end."""
    body = {
        "ClientToken": ENVIRONMENT["SCENE_CLIENT_TOKEN"],
        "AccessToken": ENVIRONMENT["SCENE_ACCESS_TOKEN"],
        "Client": "another program",
        "EntityType": entity_type,
    }
    url = f"{scene.simulator.url}/api/connector/v1/exports/add"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        assert answer.status == 200, await answer.text()
    export = scene.exports()[-1]
    scene.simulator.set_status(export.id, Status.PROCESSING)
    return export


async def blocked_since(scene: Scene, daemon: Daemon, *streams: str) -> dict[str, str]:
    """Wait until the page shows that the streams are blocked; since when."""

    def blocked(rows: dict[str, Any]) -> bool:
        return all((rows[stream]["export"] or {}).get("blocked_since") for stream in streams)

    rows = await daemon.until(blocked, "the streams were blocked")
    for stream in streams:
        assert rows[stream]["phase"] == "requesting"
        assert "already running" in rows[stream]["error"]
    return {stream: rows[stream]["export"]["blocked_since"] for stream in streams}


async def told(scene: Scene, event: str) -> list[dict[str, Any]]:
    """The events of this name so far."""
    topic = f"{scene.checkpoints.removesuffix('.checkpoints')}.exports"
    published = await asyncio.to_thread(read_committed, scene.bootstrap_servers, [topic])
    events = [json.loads(record.value or b"{}") for record in published.records[topic]]
    return [found for found in events if found["event"] == event]


async def test_a_lost_export_and_somebody_elses_block_in_sight_of_all_until_they_end(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, entity_types=("Reservation", "Payment")) as scene:
        mine, theirs = scene.stream("Reservation"), scene.stream("Payment")
        others = [await somebody_elses(scene, "Payment")]
        # The request is taken, and then the connection closes without an answer.
        for action in (Hold(), Lost()):
            scene.simulator.add_fault(FaultRule(on="add", entity_type="Reservation", action=action))
        daemon = await scene.start()
        await scene.held()
        others.append(scene.exports()[-1])
        scene.simulator.set_status(others[-1].id, Status.PROCESSING)
        scene.simulator.release()
        since = await blocked_since(scene, daemon, mine, theirs)
        for stream in (mine, theirs):
            # Also while nothing happens in the stream: it asks ever more seldom.
            before = await gauge(daemon, "blocked_seconds", stream, lambda value: value > 0)
            asked = scene.simulator.requests["add"]
            await gauge(daemon, "blocked_seconds", stream, lambda value: value > before)  # noqa: B023
            print(f"{scene.simulator.requests['add'] - asked} requests while the gauge grew")
        await scene.kill(daemon)

        daemon = await scene.start()
        await daemon.logged("step_failed", kind="ExportRunning", times=2)
        # Whoever takes over knows how long it has been so already, and does not tell it as news.
        assert await blocked_since(scene, daemon, mine, theirs) == since
        for other in others:
            scene.simulator.set_status(other.id, Status.SUCCESS)
        await daemon.until(lambda rows: all(map(is_done, rows.values())), "all exports were complete")
        for stream in (mine, theirs):
            assert await daemon.metric("blocked_seconds", stream) == 0
            assert await daemon.metric("stream_stopped", stream) == 0
        report = await scene.finish(daemon)
        assert (report.completed, report.cycles, report.blocked, report.started) == (2, 2, 2, 2)
        assert not {other.id for other in others} & {event["export_id"] for event in await told(scene, "export_ready")}


async def test_blocked_for_too_long_a_stream_stops_with_an_alarm_and_is_looked_at_again(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, blocked_limit="1s") as scene:
        stream = scene.stream()
        other = await somebody_elses(scene, "Reservation")
        asked: list[int] = []
        for _ in range(2):
            daemon = await scene.start()
            await daemon.logged("stream_stopped")
            rows = await daemon.until(lambda rows: rows[stream]["phase"] == "stopped", "the stream was stopped")
            assert "blocked for too long" in rows[stream]["error"]
            assert rows[stream]["export"]["blocked_since"]
            assert await daemon.metric("stream_stopped", stream) == 1
            asked.append(scene.simulator.requests["add"])
            await daemon.kill()
            state = (await scene.checkpoint())["state"]
            left = datetime.fromisoformat(state["look_at"]) - datetime.now(UTC)
            assert timedelta(minutes=50) < left < timedelta(minutes=61)
            await an_hour_passes(scene)
        # Looked at, once: it had been too long before already.
        assert asked[1] - asked[0] == 1
        scene.simulator.set_status(other.id, Status.SUCCESS)
        report = await scene.finish(await scene.start())
        assert (report.completed, report.cycles, report.blocked, report.records) == (1, 1, 1, LINES)


async def an_hour_passes(scene: Scene) -> None:
    """What the stopped stream waits for is over; nobody else may write meanwhile."""
    checkpoint = await scene.checkpoint()
    checkpoint["state"]["look_at"] = datetime.now(UTC).isoformat()
    await write_checkpoint(scene, scene.stream(), checkpoint)


def proof_after_a_commit() -> Wanted:
    """The first proof of ownership after something was committed."""
    committed = False

    def wanted(seen: Request) -> bool:
        nonlocal committed
        committed = committed or seen.api == Api.END_TXN
        return committed and seen.api == Api.OFFSET_COMMIT

    return wanted


@pytest.mark.parametrize("instant", ["soon", "requesting_is_committed", "ownership_is_proven"])
async def test_one_that_wakes_between_requesting_and_add_does_not_call_add(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, instant: str
) -> None:
    async with staged(local_kafka, prefix, tmp_path, session_timeout=f"{SESSION_SECONDS:g}s") as scene:
        stream = scene.stream()
        wanted = proof_after_a_commit() if instant == "ownership_is_proven" else request(Api.END_TXN)
        trap = scene.proxy.hold_answer(wanted)
        owner = await scene.start()
        await trap.held()
        # Its proof may wait for the answer to another one.
        await asyncio.sleep(0.2)
        frozen = Frozen(scene, owner)
        assert scene.simulator.requests["add"] == 0
        successor = await scene.start()
        if instant == "soon":
            # While the intent is so young that only a proof tells that somebody else has acted on it.
            await successor.logged("export_accepted")
        else:
            await successor.until(lambda rows: is_done(rows[stream]), "the successor had completed the export")
        if instant == "requesting_is_committed":
            # The shard comes back to the one that wakes, as if it had never been anybody else's.
            assert (await successor.terminate()).code == 0
        trap.release()
        await frozen.wake(after=0 if instant == "soon" else 2.5 * SESSION_SECONDS)
        await frozen.takes_part_again()
        await owner.until(lambda rows: is_done(rows[stream]), "the export was complete")
        await settled(*(daemon for daemon in (owner, successor) if not daemon.ended))
        await asyncio.sleep(SESSION_SECONDS)
        assert scene.simulator.requests["add"] == 1, owner.tail()
        for daemon in (owner, successor):
            assert daemon.ended or (await daemon.terminate()).code == 0
        await frozen.check_that_nothing_old_became_visible()
        report = await scene.verify()
        assert (report.completed, report.cycles, report.records, len(scene.exports())) == (1, 1, LINES, 1)
