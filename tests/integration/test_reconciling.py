"""The daemon, killed with SIGKILL while it compares a snapshot with its topic: the topic says what Mews says, no more.

No hooks in the product: the simulator stops at a byte of a file, and a proxy before the broker holds back a request or
its answer. Between the first snapshot and the second, days go by at Mews, in which entities change, come and go.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streamer.sandbox.local_kafka import LocalKafka
from tests.committed import read_committed
from tests.course import commit_after_tombstones_to
from tests.daemon import Row
from tests.proxy import Api, request
from tests.reckoning import by_id, differences, none_of
from tests.scene import Scene, staged
from tests.verify import Report

TYPE = "Bill"
START = datetime(2026, 3, 1, tzinfo=UTC)
MOVING: dict[str, Any] = {
    "entities": 1500,
    "files": 3,
    "moving": True,
    "start": START,
    "speed": 0.0,
    "mortal_share": 0.5,
    "late_share": 0.0,
    "cycle_seconds": 20 * 86_400,
}
SETTINGS = {"snapshot_interval": '"1s"', "max_tombstone_share": "1.0", "transaction_bytes": "60_000"}


@pytest.fixture(autouse=True)
def plain_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the proxy can see what is in a batch."""
    monkeypatch.setenv("STREAMER_KAFKA_COMPRESSION", "none")


async def snapshot_then_days_go_by(scene: Scene) -> None:
    """The daemon has completed a snapshot, and is about to ask for the second one, six days later at Mews."""
    scene.hold("add", before=True, skip=1)
    daemon = await scene.start()
    await scene.held()
    await daemon.until(lambda rows: bool(rows[scene.stream()]["last_snapshot"]), "the first snapshot was completed")
    scene.simulator.set_clock(now=START + timedelta(days=6))


async def let_one_more_follow(scene: Scene) -> Report:
    """Let the daemon complete the second snapshot and be about to ask for a third; then verify all there is."""
    daemon, stream = scene.daemons[-1], scene.stream()

    def is_second(rows: dict[str, Row]) -> bool:
        last = rows[stream]["last_snapshot"]
        return bool(last) and last["export_id"] == scene.exports()[1].id

    scene.hold("add", before=True)
    await daemon.until(is_second, "the second snapshot was completed")
    scene.simulator.clear_faults()
    held = scene.simulator.held(timeout=60)
    # It would go on for ever otherwise.
    await asyncio.gather(held, return_exceptions=True)
    await scene.kill(daemon)
    report = await scene.verify()
    published = await asyncio.to_thread(read_committed, scene.bootstrap_servers, [scene.topic(TYPE)])
    truth = by_id(scene.simulator.truth(TYPE, token=0))
    none_of(differences(published.records[scene.topic(TYPE)], truth))
    assert report.completed == 2
    assert report.unchanged > 200
    assert report.tombstones > 50
    return report


async def test_killed_while_it_reads_back_it_reads_back_again(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, entity_types=(TYPE,), simulated=MOVING, **SETTINGS) as scene:
        await snapshot_then_days_go_by(scene)
        fetch = scene.proxy.hold_answer(request(Api.FETCH, naming=scene.topic(TYPE)))
        scene.simulator.release()
        await fetch.held()
        await scene.kill(scene.daemons[-1])
        await scene.start()
        await let_one_more_follow(scene)


async def test_killed_in_mid_file_it_still_knows_what_it_has_seen(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, entity_types=(TYPE,), simulated=MOVING, **SETTINGS) as scene:
        await snapshot_then_days_go_by(scene)
        for file, byte in ((1, 100_000), (2, 0)):
            # In the middle of the second file, then between that and the third.
            scene.hold("file", file=file, at_byte=byte)
            scene.simulator.release()
            await scene.held()
            await scene.daemons[-1].until(
                lambda rows: (rows[scene.stream()]["export"] or {}).get("file", -1) >= file,  # noqa: B023
                f"file {file} was next",
            )
            await scene.kill(scene.daemons[-1])
            await scene.start()
        await let_one_more_follow(scene)


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
async def test_killed_amid_tombstones_it_writes_the_rest(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, committed: bool
) -> None:
    settings = {**SETTINGS, "transaction_bytes": "8_000"}
    async with staged(local_kafka, prefix, tmp_path, entity_types=(TYPE,), simulated=MOVING, **settings) as scene:
        await snapshot_then_days_go_by(scene)
        wanted = commit_after_tombstones_to(scene.topic(TYPE))
        trap = scene.proxy.hold_answer(wanted) if committed else scene.proxy.hold(wanted)
        scene.simulator.release()
        await trap.held()
        await scene.kill(scene.daemons[-1])
        daemon = await scene.start()
        await let_one_more_follow(scene)
        assert daemon.events("topic_read_back")
