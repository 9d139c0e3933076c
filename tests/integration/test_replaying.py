"""Dead letters that are replayed after a fix: each line becomes a record once, whenever the daemon is killed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from streamer.contract.entities import example_of
from streamer.model import EntityType
from streamer.sandbox.local_kafka import LocalKafka
from tests.committed import read_committed
from tests.daemon import PATIENCE, Daemon
from tests.facts import Record
from tests.processes import Said, streamer
from tests.proxy import commit_after_records_to
from tests.scene import ENVIRONMENT, Scene, is_done, staged

TYPE = "Reservation"


def line(id_: str, **changed: object) -> bytes:
    return json.dumps({**example_of(EntityType.RESERVATION), "Id": id_, **changed}).encode()


UNFIT = line("r2", Number=7)
FILES = [line("r1") + b"\n" + UNFIT + b'\n{"no":"id"}\n', line("r3") + b"\n"]


async def ask(scene: Scene, folder: Path, *arguments: str) -> Said:
    """A command with the settings of the newest daemon."""
    config = folder / f"daemon-{len(scene.daemons)}.toml"
    return await streamer(*arguments, "--config", str(config), cwd=folder, environment=ENVIRONMENT)


async def entities(scene: Scene) -> list[Record]:
    published = await asyncio.to_thread(read_committed, scene.bootstrap_servers, [scene.topic(TYPE)])
    return list(published.records[scene.topic(TYPE)])


async def until_there(scene: Scene, count: int) -> list[Record]:
    deadline = time.monotonic() + PATIENCE
    while len(found := await entities(scene)) < count:
        assert time.monotonic() < deadline, scene.daemons[-1].tail()
        await asyncio.sleep(0.2)
    return found


async def refusal(scene: Scene, folder: Path, daemon: Daemon, ce_id: str) -> str:
    """Ask for a line; why it is refused."""
    assert (await ask(scene, folder, "dead-letters", "replay", ce_id)).code == 0
    refused = await daemon.logged("signal_rejected")
    return str(refused["reason"])


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
async def test_a_line_that_is_valid_by_now_becomes_a_record_once(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, committed: bool
) -> None:
    async with staged(local_kafka, prefix, tmp_path, snapshot_interval="7d") as scene:
        scene.simulator.set_data(TYPE, FILES)
        scene.unfit_is_dead = True
        daemon = await scene.start(validate="dead_letter")
        await daemon.until(lambda rows: is_done(rows[scene.stream()]), "the export was complete")
        listed = json.loads((await ask(scene, tmp_path, "dead-letters", "list", "--json")).stdout)
        letters = {letter["reason"]: letter["ce_id"] for letter in listed}
        assert set(letters) == {"unexpected_shape", "no_id"}
        ce_id = letters["unexpected_shape"]
        refused = await ask(scene, tmp_path, "dead-letters", "replay", letters["no_id"], "e1/0/0")
        assert refused.code == 1
        assert refused.stdout.splitlines() == [
            f"{letters['no_id']}: the line is no JSON object with an Id",
            "e1/0/0: there is no such dead letter",
        ]
        assert "not as the schema" in await refusal(scene, tmp_path, daemon, ce_id)
        await daemon.terminate()

        # The fix: shapes are nobody's business any more. Killed with the record sent.
        wanted = commit_after_records_to(scene.topic(TYPE))
        trap = scene.proxy.hold_answer(wanted) if committed else scene.proxy.hold(wanted)
        daemon = await scene.start()
        assert (await ask(scene, tmp_path, "dead-letters", "replay", ce_id)).code == 0
        await trap.held()
        await scene.kill(daemon)
        daemon = await scene.start()
        published = await until_there(scene, 3)
        (replayed,) = [record for record in published if record.key == b"r2"]
        assert (replayed.value, replayed.header("ce_id")) == (UNFIT, ce_id)
        assert "it was replayed before" in await refusal(scene, tmp_path, daemon, ce_id)

        # The next snapshot finds the line in its topic, and nothing contradicts.
        assert (await ask(scene, tmp_path, "signal", "snapshot_now", scene.stream())).code == 0
        await daemon.until(lambda rows: len(scene.exports()) == 2 and is_done(rows[scene.stream()]), "the second came")
        report = await scene.finish(daemon)
        assert (report.completed, report.records, report.unchanged, report.dead_letters) == (2, 2, 3, 3)
        assert len(await entities(scene)) == 3
        verified = await ask(scene, tmp_path, "verify")
        assert (verified.code, "no differences" in verified.stdout) == (0, True), verified
