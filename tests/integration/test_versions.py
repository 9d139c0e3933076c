"""Two versions of the daemon in one group, and the way back to the older one: neither spoils what the other wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamer.core.checkpoint import VERSION
from streamer.sandbox.exports import Status
from streamer.sandbox.local_kafka import LocalKafka
from tests.committed import read_committed
from tests.daemon import Row
from tests.facts import Record
from tests.group import checkpoints, gauge, shard_of, write_checkpoint
from tests.processes import streamer
from tests.scene import ENVIRONMENT, Scene, is_done, staged

TYPES = ("OrderItem", "Customer")
"""Their streams lie in the same shard."""

NEWER = {"moon": {"phase": "full", "days": [1, 2]}, "colour": "blue"}
"""Fields of a version that is yet to come."""


def written(scene: Scene, stream: str) -> list[Record]:
    """All checkpoints of a stream, as they lie in the topic."""
    published = read_committed(scene.bootstrap_servers, [scene.checkpoints])
    return [record for record in published.records[scene.checkpoints] if record.key == stream.encode()]


async def test_fields_that_a_newer_version_wrote_are_kept(local_kafka: LocalKafka, prefix: str, tmp_path: Path) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        # Refused, because an export of this type is running: the phase is written more than once.
        scene.hold("add")
        daemon = await scene.start()
        await scene.held()
        orphan = scene.exports()[0]
        scene.simulator.set_status(orphan.id, Status.PROCESSING)
        await scene.kill(daemon)
        newer = await scene.checkpoint()
        await write_checkpoint(scene, scene.stream(), {**newer, **NEWER, "state": {**newer["state"], "mood": "calm"}})
        before = len(await checkpoints(scene))

        daemon = await scene.start()
        await daemon.logged("step_failed", kind="ExportRunning")
        scene.simulator.set_status(orphan.id, Status.SUCCESS)
        report = await scene.finish(daemon)
        assert (report.completed, report.cycles) == (1, 1)
        later = [checkpoint.fields for checkpoint in (await checkpoints(scene))[before:]]
        assert [fields for fields in later if {name: fields.get(name) for name in NEWER} != NEWER] == []
        moods = [(fields["state"]["phase"], fields["state"].get("mood")) for fields in later]
        # As long as the phase lasts of which it was said.
        assert moods.count(("requesting", "calm")) >= 2
        assert {mood for phase, mood in moods if phase != "requesting"} == {None}
        assert ("requesting", None) not in moods
        assert {phase for phase, _ in moods} >= {"requesting", "waiting", "publishing", "idle"}


async def test_a_checkpoint_of_a_higher_version_is_left_alone_with_an_alarm(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, entity_types=TYPES, simulated={"entities": 200}) as scene:
        known, newer = map(scene.stream, TYPES)
        assert shard_of(known) == shard_of(newer)
        await scene.finish(await scene.start())
        before = await scene.checkpoint("Customer")
        value = await write_checkpoint(scene, newer, {**before, **NEWER, "v": VERSION + 1, "term": 7})
        # A stream of an entity type that is unknown here, in the same shard.
        strange = next(f"alpine/Type{n}" for n in range(1000) if shard_of(f"alpine/Type{n}") == shard_of(known))
        await write_checkpoint(scene, strange, {**before, "snapshot": None, "window": completed_window(before)})
        asked = scene.simulator.requests_by_type["Customer"]["add"]

        daemon = await scene.start(snapshot_interval="1s")
        problem = f"checkpoint of version {VERSION + 1}, this program knows up to {VERSION}"
        assert problem in (await daemon.logged("checkpoint_unreadable", stream=newer))["problem"]
        assert problem in (await daemon.logged("stream_left_alone", entity_type="Customer"))["problem"]

        def goes_on(rows: dict[str, Row]) -> bool:
            return rows[known]["cycle"] >= 3 and rows[known]["last_snapshot"] is not None

        rows = await daemon.until(goes_on, "the other stream of the shard went on")
        assert (rows[newer]["phase"], rows[newer]["error"]) == ("unreadable", problem)
        assert await daemon.metric("stream_stopped", newer) == 1
        assert await daemon.metric("stream_stopped", known) == 0
        # Long enough for all that is done from time to time.
        cycle = rows[known]["cycle"]
        await daemon.until(lambda rows: rows[known]["cycle"] >= cycle + 2, "the other stream went on and on")
        assert (await daemon.terminate()).code == 0

        said = await streamer(
            *("once", "--config", str(tmp_path / f"{daemon.name}.toml"), "--type", "Customer"),
            cwd=tmp_path,
            environment=ENVIRONMENT,
        )
        assert (said.code, problem in said.stdout) == (1, True), said
        assert scene.simulator.requests_by_type["Customer"]["add"] == asked
        assert written(scene, newer)[-1].value == value

        # The newer version comes back, and says it in words that are known here.
        await write_checkpoint(scene, newer, {**before, "term": 8})
        daemon = await scene.start()
        await daemon.until(lambda rows: is_done(rows[newer]), "the stream was readable again")
        await gauge(daemon, "stream_stopped", newer, lambda value: value == 0)
        assert (await daemon.terminate()).code == 0
        # What the strange stream has completed, nobody was told.
        await write_checkpoint(scene, strange, {**before, "snapshot": None, "window": None})
        await scene.verify()


def completed_window(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A window as the last completed export."""
    at = checkpoint["snapshot"]["requested_at"]
    found: dict[str, Any] = json.loads(json.dumps(checkpoint["snapshot"]))
    return {**found, "window": {"start": at, "end": at}}
