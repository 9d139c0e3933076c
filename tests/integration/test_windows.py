"""Windows with a real broker and the simulator's strict rules, through kills at their tender moments."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from streamer.sandbox.exports import Status
from streamer.sandbox.local_kafka import LocalKafka
from tests.committed import read_committed
from tests.daemon import Daemon, Row
from tests.proxy import commit_after_records_to
from tests.scene import Scene, staged

TYPE = "Reservation"
OVERLAP = timedelta(minutes=10)
FAST = {"entities": 300, "files": 1, "bytes_per_second": 1e6, "speed": 600.0, "cycle_seconds": 7200}
"""Ten minutes in a second, in which the hotel updates a twelfth of its reservations."""


async def events_of(scene: Scene) -> list[dict[str, Any]]:
    topic = scene.checkpoints.replace(".checkpoints", ".exports")
    published = await asyncio.to_thread(read_committed, scene.bootstrap_servers, [topic])
    return [json.loads(record.value or b"") for record in published.records[topic]]


def windows_done(row: Row, since: str | None = None) -> bool:
    """Whether a window has been completed, another than the one that ended ``since``."""
    return row["last_window"] is not None and row["last_window"]["export_id"] != since


async def next_window(scene: Scene, daemon: Daemon) -> None:
    """Until a further window is complete."""
    last = (await daemon.streams())[scene.stream()]["last_window"]
    since = last["export_id"] if last else None
    await daemon.until(lambda rows: windows_done(rows[scene.stream()], since), "a window was complete")


def check_chain(events: list[dict[str, Any]]) -> int:
    """The completed windows leave no gap, from the first snapshot on; how many there are."""
    completed = [e for e in events if e["event"] == "export_completed"]
    assert completed[0]["kind"] == "snapshot"
    bounds = [
        (datetime.fromisoformat(e["window"]["start"]), datetime.fromisoformat(e["window"]["end"]))
        for e in completed
        if e["kind"] == "window"
    ]
    for (_, end), (start, later) in pairwise(bounds):
        assert start == end - OVERLAP
        assert later > end
    return len(bounds)


async def test_windows_follow_the_first_snapshot_without_a_gap_through_kills(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, simulated=FAST, update_interval="500ms") as scene:
        daemon = await scene.start()
        await next_window(scene, daemon)
        # Accepted, and nobody knows the id: what the orphan would have held comes with the next window.
        scene.hold("add")
        await scene.held()
        orphan = scene.exports()[-1]
        scene.simulator.set_status(orphan.id, Status.PROCESSING)
        await scene.kill(daemon)
        daemon = await scene.start()
        refused = await daemon.logged("step_failed")
        assert "already running" in refused["reason"]
        scene.simulator.set_status(orphan.id, None)
        await next_window(scene, daemon)
        # In the middle of a window's file, and then right before the commit of its end.
        scene.hold("file", at_byte=1000)
        await scene.held()
        await scene.kill(daemon)
        trap = scene.proxy.hold(commit_after_records_to(scene.topic(TYPE)))
        daemon = await scene.start()
        await trap.held()
        await scene.kill(daemon)
        daemon = await scene.start()
        await next_window(scene, daemon)
        await next_window(scene, daemon)
        scene.simulator.set_clock(speed=0.0)
        report = await scene.finish(daemon)
        assert scene.kills == 3
        # One for each export that was completed, and none for what repeated itself.
        assert report.completed == check_chain(await events_of(scene)) + 1 >= 4


async def test_mews_that_refuses_filters_is_asked_for_snapshots_only(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    simulated = {**FAST, "filters_refused": True}
    async with staged(local_kafka, prefix, tmp_path, simulated=simulated, update_interval="500ms") as scene:
        daemon = await scene.start()
        await daemon.logged("filters_refused")
        await daemon.until(lambda rows: rows[scene.stream()]["phase"] == "idle", "the stream was idle")
        assert await daemon.metric("windows_refused", scene.stream()) == 1.0
        report = await scene.finish(daemon)
        assert (report.completed, report.blocked) == (1, 0)
        assert len(daemon.events("filters_refused")) == 1


async def test_a_ledger_comes_in_windows_from_the_beginning_and_never_as_a_snapshot(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    simulated = {"entities": 30, "files": 1, "pending_seconds": 0.0, "processing_seconds": 0.0}
    async with staged(
        local_kafka, prefix, tmp_path, entity_types=("LedgerEntry",), simulated=simulated, poll_interval="50ms"
    ) as scene:
        daemon = await scene.start(update_interval="1h")
        stream = scene.stream()

        def is_in_step(rows: dict[str, Row]) -> bool:
            row = rows[stream]
            if row["phase"] != "idle" or row["last_window"] is None:
                return False
            return datetime.fromisoformat(row["last_window"]["window"]["end"]) > scene.simulator.now()

        await daemon.until(is_in_step, "the ledger was in step", within=120.0)
        assert (await daemon.terminate()).code == 0
        await scene.verify()
        completed = [e for e in await events_of(scene) if e["event"] == "export_completed"]
        assert {e["kind"] for e in completed} == {"window"}
        assert completed[0]["window"]["start"].startswith("2011-12-25")
        for earlier, later in pairwise(completed):
            assert later["window"]["start"] < earlier["window"]["end"]
