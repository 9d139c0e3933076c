"""An entity that a person has had erased is gone, once, and stays out for as long as Mews goes on sending it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from streamer.sandbox.local_kafka import LocalKafka
from tests.committed import read_committed
from tests.daemon import PATIENCE, Daemon
from tests.facts import Record
from tests.processes import Said, streamer
from tests.proxy import commit_after_records_to
from tests.scene import ENVIRONMENT, Scene, is_done, staged

TYPE = "Customer"
GUEST = "canary-guest"
FILES = [
    b'{"Id":"c1","LastName":"A"}\n{"Id":"canary-guest","LastName":"canary"}\n',
    b'{"Id":"c2","LastName":"B"}\n{"Id":"canary-guest","LastName":"canary again"}\n{"Id":"c3","LastName":"C"}\n',
]
WITHOUT = [b'{"Id":"c1","LastName":"A"}\n', b'{"Id":"c2","LastName":"B"}\n{"Id":"c3","LastName":"C"}\n']
SETTINGS: dict[str, Any] = {"snapshot_interval": "7d", "erasure_key": {"env": "ERASURE_KEY"}}


@pytest.fixture(autouse=True)
def erasure_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERASURE_KEY", "canary-key-of-32-random-bytes-or-so")


async def signal(scene: Scene, folder: Path, *arguments: str) -> Said:
    """A command with the settings of the newest daemon."""
    config = folder / f"daemon-{len(scene.daemons)}.toml"
    name, *more = arguments
    said = await streamer(name, *more, "--config", str(config), cwd=folder, environment=ENVIRONMENT)
    assert said.code == 0, said
    return said


async def records(scene: Scene, topic: str) -> list[Record]:
    published = await asyncio.to_thread(read_committed, scene.bootstrap_servers, [topic])
    return list(published.records[topic])


async def of_guest(scene: Scene) -> list[Record]:
    return [record for record in await records(scene, scene.topic(TYPE)) if record.key == GUEST.encode()]


async def until_gone(scene: Scene) -> Record:
    deadline = time.monotonic() + PATIENCE
    while (last := (await of_guest(scene))[-1]).value is not None:
        assert time.monotonic() < deadline, scene.daemons[-1].tail()
        await asyncio.sleep(0.2)
    return last


async def snapshot(scene: Scene, folder: Path, daemon: Daemon, *options: str) -> dict[str, Any]:
    """Ask for a snapshot, and wait; its ``export_completed``."""
    before = len(scene.exports())
    await signal(scene, folder, "signal", "snapshot_now", scene.stream(), *options)
    await daemon.until(lambda rows: len(scene.exports()) > before and is_done(rows[scene.stream()]), "it was complete")
    return await last_completed(scene)


async def last_completed(scene: Scene) -> dict[str, Any]:
    topic = scene.checkpoints.replace(".checkpoints", ".exports")
    told = [json.loads(record.value or b"") for record in await records(scene, topic)]
    return next(event for event in reversed(told) if event["event"] == "export_completed")


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
async def test_whoever_was_erased_stays_out_until_mews_sends_them_no_more(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, committed: bool
) -> None:
    async with staged(local_kafka, prefix, tmp_path, entity_types=(TYPE,), **SETTINGS) as scene:
        scene.simulator.set_data(TYPE, FILES)
        daemon = await scene.start()
        await daemon.until(lambda rows: is_done(rows[scene.stream()]), "the export was complete")
        before = len(await of_guest(scene))

        wanted = commit_after_records_to(scene.topic(TYPE))
        trap = scene.proxy.hold_answer(wanted) if committed else scene.proxy.hold(wanted)
        await signal(scene, tmp_path, "signal", "erase", scene.stream(), "--id", GUEST)
        await trap.held()
        await scene.kill(daemon)
        daemon = await scene.start()
        gone = await until_gone(scene)
        assert gone.header("ce_id").startswith("erase-")
        assert len(await of_guest(scene)) == before + 1

        # Neither line of the guest is published, however the export is: compared, or whole and killed amid it.
        told = await snapshot(scene, tmp_path, daemon)
        assert (told["lines"], told["records"], told["unchanged"], told["erased"]) == (5, 0, 3, 2)
        scene.hold("file", file=1, at_byte=40)
        await signal(scene, tmp_path, "signal", "snapshot_now", scene.stream(), "--everything")
        await scene.held()
        await scene.kill(daemon)
        daemon = await scene.start()
        await daemon.until(lambda rows: len(scene.exports()) == 3 and is_done(rows[scene.stream()]), "it was complete")
        told = await last_completed(scene)
        assert (told["lines"], told["records"], told["unchanged"], told["erased"]) == (5, 3, 0, 2)
        assert len(await of_guest(scene)) == before + 1
        verified = await signal(scene, tmp_path, "verify")
        assert "no differences" in verified.stdout

        # Nowhere but in keys and in the signal itself is it written who it was.
        for topic in (scene.checkpoints, f"{prefix}.exports", f"{prefix}.dead-letters"):
            assert not [record for record in await records(scene, topic) if b"canary" in (record.value or b"")]
        assert len((await scene.checkpoint())["erased"]) == 1
        for one in scene.daemons:
            assert not [line for line in one.said if "canary" in json.dumps(line)]

        # Mews has stopped: nobody is kept out any more.
        scene.simulator.set_data(TYPE, WITHOUT)
        told = await snapshot(scene, tmp_path, daemon)
        assert (told["lines"], told["erased"]) == (3, 0)
        assert (await scene.checkpoint())["erased"] == {}
        scene.simulator.set_data(TYPE, FILES)
        assert (await snapshot(scene, tmp_path, daemon))["erased"] == 0
        assert (await of_guest(scene))[-1].value is not None
