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
from tests.daemon import Row
from tests.proxy import Api, commit_after_tombstones_to, request
from tests.reckoning import by_id, differences, none_of
from tests.scene import Scene, is_done, staged
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
SETTINGS: dict[str, Any] = {"snapshot_interval": "1s", "max_tombstone_share": 1.0, "transaction_bytes": 60_000}


@pytest.fixture(autouse=True)
def plain_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the proxy can see what is in a batch."""
    monkeypatch.setenv("STREAMER_KAFKA_COMPRESSION", "none")


async def snapshot_then_days_go_by(scene: Scene) -> None:
    """A snapshot is completed; the next daemon will ask for a second one, six days later at Mews, and for no third."""
    daemon = await scene.start(snapshot_interval="7d")
    await daemon.until(lambda rows: is_done(rows[scene.stream()]), "the first snapshot was completed")
    await daemon.terminate()
    # Not while a daemon runs: it goes by the time that Mews told it last.
    scene.simulator.set_clock(now=START + timedelta(days=6))
    scene.hold("add", before=True, skip=1)


async def complete_the_second(scene: Scene) -> Report:
    """Let the daemon complete the second snapshot, and verify all there is."""
    stream = scene.stream()

    def is_second(rows: dict[str, Row]) -> bool:
        last = rows[stream]["last_snapshot"]
        return bool(last) and last["export_id"] == scene.exports()[1].id

    await scene.daemons[-1].until(is_second, "the second snapshot was completed")
    await scene.kill(scene.daemons[-1])
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
        daemon = await scene.start()
        await fetch.held()
        await scene.kill(daemon)
        await scene.start()
        await complete_the_second(scene)


async def test_killed_in_mid_file_it_still_knows_what_it_has_seen(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, entity_types=(TYPE,), simulated=MOVING, **SETTINGS) as scene:
        await snapshot_then_days_go_by(scene)
        for file, byte in ((1, 100_000), (2, 0)):
            # In the middle of the second file, then between that and the third.
            scene.hold("file", file=file, at_byte=byte)
            daemon = await scene.start()
            await scene.held()
            await daemon.until(
                lambda rows: (rows[scene.stream()]["export"] or {}).get("file", -1) >= file,  # noqa: B023
                f"file {file} was next",
            )
            await scene.kill(daemon)
        await scene.start()
        await complete_the_second(scene)


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
async def test_killed_amid_tombstones_it_writes_the_rest(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, committed: bool
) -> None:
    settings = {**SETTINGS, "transaction_bytes": 8_000}
    async with staged(local_kafka, prefix, tmp_path, entity_types=(TYPE,), simulated=MOVING, **settings) as scene:
        await snapshot_then_days_go_by(scene)
        wanted = commit_after_tombstones_to(scene.topic(TYPE))
        trap = scene.proxy.hold_answer(wanted) if committed else scene.proxy.hold(wanted)
        daemon = await scene.start()
        await trap.held()
        await scene.kill(daemon)
        daemon = await scene.start()
        await complete_the_second(scene)
        assert daemon.events("topic_read_back")
