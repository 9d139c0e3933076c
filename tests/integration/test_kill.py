"""The daemon, killed with SIGKILL at each of its tender moments, starts again and every line is there once.

No hooks in the product: the simulator holds back an answer or stops at a byte, and a proxy before the broker holds back
a request or its answer. Each test kills three times, one after the other, in the life of the same export.
"""

from __future__ import annotations

from pathlib import Path

from streamer.sandbox.exports import Status
from streamer.sandbox.local_kafka import LocalKafka
from tests.daemon import Daemon, Row
from tests.proxy import Api, commit_after_records_to, request
from tests.scene import Scene, staged

TYPE = "Reservation"
LINES = 2000
SIZE = 3_400_000
"""About so many bytes have these lines of this type."""

BLOCK_BYTES = 250_000


def bytes_done(row: Row) -> int:
    """How much of the export under way is committed."""
    return row["export"]["bytes"] if row["phase"] == "publishing" else 0


def files_done(row: Row) -> int:
    """How many files of the export under way are committed."""
    return row["export"]["file"] if row["phase"] == "publishing" else 0


async def the_orphan_blocks_until_it_ends(scene: Scene, daemon: Daemon) -> None:
    """The export whose id nobody knows keeps Mews from accepting another one; then it is over."""
    orphan = scene.exports()[-1]
    refused = await daemon.logged("step_failed")
    assert "already running" in refused["reason"]
    assert scene.exports()[-1] is orphan
    scene.simulator.set_status(orphan.id, None)


async def start_again(scene: Scene) -> Daemon:
    """A new daemon, which will be refused once and, after less than three kills, gets no answer the second time."""
    if scene.kills < 3:
        scene.hold("add", skip=1)
    return await scene.start()


def keep_running(scene: Scene) -> str:
    """The newest export stays in work, whatever the time; its id."""
    orphan = scene.exports()[-1].id
    scene.simulator.set_status(orphan, Status.PROCESSING)
    return orphan


async def test_killed_while_add_is_not_answered_it_asks_again_once_the_orphan_has_ended(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        orphans = []
        scene.hold("add")
        daemon = await scene.start()
        for _ in range(3):
            await scene.held()
            row = await daemon.until(lambda rows: rows[scene.stream()]["phase"] == "requesting", "requesting")
            assert row[scene.stream()]["cycle"] == 1
            orphans.append(keep_running(scene))
            await scene.kill(daemon)
            daemon = await start_again(scene)
            await the_orphan_blocks_until_it_ends(scene, daemon)
        report = await scene.finish(daemon)
        assert (scene.kills, len(set(orphans))) == (3, 3)
        assert (report.completed, report.cycles, report.records, report.blocked) == (1, 1, LINES, 1)
        assert len(scene.exports()) == 4


async def test_killed_before_add_is_processed_it_meets_the_late_export_as_an_orphan(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        scene.hold("add", before=True)
        daemon = await scene.start()
        await scene.held()
        await scene.kill(daemon)
        assert scene.exports() == []
        # What was on its way arrives after the death of the sender.
        scene.simulator.release()
        daemon = await scene.start()
        report = await scene.finish(daemon)
        assert (report.completed, report.cycles, report.records) == (1, 1, LINES)
        assert len(scene.exports()) == 2


async def test_killed_with_an_id_that_is_not_committed_it_never_publishes_that_export(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        orphans = []
        scene.hold("add")
        daemon = await scene.start()
        for api in (Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE, Api.END_TXN):
            await scene.held()
            trap = scene.proxy.hold(request(api))
            orphans.append(keep_running(scene))
            scene.simulator.release()
            await trap.held()
            await daemon.logged("export_accepted", export_id=orphans[-1])
            await scene.kill(daemon)
            daemon = await start_again(scene)
            await the_orphan_blocks_until_it_ends(scene, daemon)
        report = await scene.finish(daemon)
        assert scene.kills == 3
        assert (report.completed, report.cycles, report.records, report.blocked) == (1, 1, LINES, 1)
        assert [export.id for export in scene.exports()][:-1] == orphans


async def test_killed_in_mid_file_it_goes_on_behind_what_is_committed(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, simulated={"files": 1}) as scene:
        stream = scene.stream()
        done = 0
        for share in (0.3, 0.6, 0.9):
            scene.hold("file", file=0, at_byte=int(share * SIZE))
            daemon = await scene.start()
            await scene.held()
            more = BLOCK_BYTES + done
            rows = await daemon.until(lambda rows: bytes_done(rows[stream]) >= more, f"{more} bytes were committed")  # noqa: B023
            done = bytes_done(rows[stream])
            if share > 0.8:
                # The last time in full flow.
                trap = scene.proxy.hold_answer(commit_after_records_to(scene.topic(TYPE)))
                scene.simulator.release()
                await trap.held()
            await scene.kill(daemon)
        daemon = await scene.start()
        report = await scene.finish(daemon)
        assert (scene.kills, report.completed, report.cycles, report.records) == (3, 1, 1, LINES)
        assert len(scene.exports()) == 1
        # Nobody began again at the beginning: what came twice is what was on its way when the daemon died.
        assert scene.simulator.file_bytes_sent < 2 * SIZE


async def test_killed_between_sending_records_and_their_commit_it_sends_them_again(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        for commits_before in (0, 1, 2):
            trap = scene.proxy.hold(commit_after_records_to(scene.topic(TYPE), skip=commits_before))
            daemon = await scene.start()
            await trap.held()
            await scene.kill(daemon)
        daemon = await scene.start()
        report = await scene.finish(daemon)
        assert (scene.kills, report.completed, report.cycles, report.records) == (3, 1, 1, LINES)
        assert len(scene.exports()) == 1


async def test_killed_between_a_commit_and_its_answer_it_does_not_send_those_records_again(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        for commits_before in (0, 1, 2):
            trap = scene.proxy.hold_answer(commit_after_records_to(scene.topic(TYPE), skip=commits_before))
            daemon = await scene.start()
            await trap.held()
            await scene.kill(daemon)
        daemon = await scene.start()
        report = await scene.finish(daemon)
        assert (scene.kills, report.completed, report.cycles, report.records) == (3, 1, 1, LINES)
        assert len(scene.exports()) == 1


async def test_a_commit_that_arrives_during_the_take_over_is_seen_by_the_successor(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        late = scene.proxy.hold(commit_after_records_to(scene.topic(TYPE)))
        daemon = await scene.start()
        await late.held()
        # What the dead one has sent is still on its way.
        await daemon.kill()

        start = scene.proxy.hold(request(Api.INIT_PRODUCER_ID))
        daemon = await scene.start()
        await start.held()
        # From here on the successor's reader learns nothing of the checkpoints ...
        fetch = scene.proxy.hold_answer(request(Api.FETCH, naming=scene.checkpoints))
        await fetch.held()
        # ... while the commit arrives, and then the successor's producer starts.
        late.release()
        state = (await scene.checkpoint())["state"]
        assert state["counts"]["records"] > 0
        measure = scene.proxy.hold_answer(request(Api.LIST_OFFSETS, naming=scene.checkpoints))
        start.release()
        # It has to ask how far to read, and to wait until it has read so far.
        await measure.held()
        measure.release()
        fetch.release()
        report = await scene.finish(daemon)
        assert (report.completed, report.cycles, report.records) == (1, 1, LINES)


async def test_killed_between_two_files_it_goes_on_with_the_next_one(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, simulated={"files": 4}) as scene:
        stream = scene.stream()
        for file in (1, 2, 3):
            scene.hold("file", file=file)
            daemon = await scene.start()
            await scene.held()
            await daemon.until(lambda rows: files_done(rows[stream]) == file, f"file {file} was next")  # noqa: B023
            await scene.kill(daemon)
        daemon = await scene.start()
        report = await scene.finish(daemon)
        assert (scene.kills, report.completed, report.cycles, report.records) == (3, 1, 1, LINES)
        assert len(scene.exports()) == 1
