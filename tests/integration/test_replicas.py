"""One to eight daemons with one config: they share the work, take it over from one another, and never do it twice."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from streamer.sandbox.local_kafka import LocalKafka
from tests.daemon import Daemon, Row
from tests.group import Frozen, losses, publishes, settled, shard_of, take_overs, works
from tests.proxy import Api, Trap, commit_after_records_to, request
from tests.scene import Scene, is_done, staged

TYPE = "Reservation"
LINES = 2000
TYPES = (
    *("OrderItem", "Payment", "Reservation", "Customer", "Company"),
    *("Bill", "AvailabilityAdjustment", "AvailabilityBlock", "ResourceBlock"),
)
SESSION_SECONDS = 3.0

AGAIN = {"snapshot_interval": "1s"}
"""One export follows the other."""

SLOW = {"bytes_per_second": 6e5}
"""An export of these lines takes more than five seconds."""


async def ends_well(scene: Scene, *daemons: Daemon) -> None:
    """SIGTERM to all of them."""
    for ended in await asyncio.gather(*(daemon.terminate() for daemon in daemons)):
        assert ended.code == 0


async def test_eight_daemons_share_the_shards_and_as_many_as_stay_have_them_all(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(
        local_kafka, prefix, tmp_path, entity_types=TYPES, session_timeout="6s", simulated={"entities": 50}, **AGAIN
    ) as scene:

        async def work_is_shared_by(*daemons: Daemon) -> None:
            owners = await settled(*daemons)
            shares = Counter(owners.values()).values()
            assert max(shares) - min(shares) <= 1, shares

            def done_by_their_owners(rows: dict[str, Row]) -> bool:
                return all(works(row, owners[shard_of(stream)]) for stream, row in rows.items())

            rows = await daemons[0].until(done_by_their_owners, "each stream was worked on by its owner")
            assert len(rows) == len(TYPES)

        for number in (1, 8):
            while len(scene.daemons) < number:
                await scene.start()
            await work_is_shared_by(*scene.daemons)
        await ends_well(scene, *scene.daemons[3:])
        await work_is_shared_by(*scene.daemons[:3])
        await ends_well(scene, *scene.daemons[:3])
        report = await scene.finish(await scene.start(snapshot_interval="7d"))
        assert report.completed >= 3 * len(TYPES)


async def test_the_work_of_one_that_is_killed_or_told_to_stop_goes_on_elsewhere(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    # With the session timeout that is the default.
    async with staged(local_kafka, prefix, tmp_path, session_timeout="10s", simulated=SLOW, **AGAIN) as scene:
        stream = scene.stream()
        other = await scene.start()
        for sign, limit in ((signal.SIGKILL, 30.0), (signal.SIGTERM, 10.0)):
            pair = {other, await scene.start()}
            owner = (await settled(*pair))[shard_of(stream)]
            (other,) = pair - {owner}
            await other.until(lambda rows: publishes(rows[stream], owner), "the owner published")  # noqa: B023
            since = time.monotonic()
            owner.strike(sign)
            await other.until(lambda rows: publishes(rows[stream], other), "the other one published")  # noqa: B023
            seconds = time.monotonic() - since
            print(f"{sign.name} to the next committed record: {seconds:.2f} s")
            assert seconds < limit, other.tail()
            assert (await owner.over(since=since)).code == (0 if sign is signal.SIGTERM else -sign)
        await ends_well(scene, other)
        await scene.finish(await scene.start(snapshot_interval="7d"))


async def test_streams_that_stay_go_on_while_others_come_and_go_and_a_moved_one_loses_a_block(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    # Exports of half a minute: on a busy machine it takes a while until a new daemon takes part.
    rate, per_type, block_seconds = 120e3, 3_600_000, 0.3
    async with staged(
        local_kafka,
        prefix,
        tmp_path,
        entity_types=TYPES,
        session_timeout="10s",
        simulated={"bytes_per_type": per_type, "bytes_per_second": rate, "files": 1},
        transaction_seconds=block_seconds,
        max_active=9,
    ) as scene:
        streams = [scene.stream(entity_type) for entity_type in TYPES]
        stayed = 0

        async def all_publish(*daemons: Daemon) -> dict[int, Daemon]:
            owners = await settled(*daemons)
            rows = await daemons[0].until(
                lambda rows: all(publishes(rows[stream], owners[shard_of(stream)]) for stream in streams),
                "all streams were published by their owners",
            )
            assert all(row["export"]["bytes"] < row["export"]["bytes_total"] for row in rows.values())
            return owners

        alive = [await scene.start()]
        owners = await all_publish(*alive)
        for change in ("up", "up", "down"):
            if change == "up":
                await scene.start()
            else:
                await ends_well(scene, scene.daemons[1])
            alive = [daemon for daemon in scene.daemons if not daemon.ended]
            before, owners = owners, await all_publish(*alive)
            stayed += sum(owners[shard_of(stream)] is before[shard_of(stream)] for stream in streams)
        moved = 3 * len(streams) - stayed
        assert min(stayed, moved) >= 2, (stayed, moved)
        for entity_type in TYPES:
            asked = scene.simulator.requests_by_type[entity_type]["file"]
            assert asked == take_overs(scene.daemons, scene.stream(entity_type)), entity_type
        for daemon in alive:
            await daemon.until(lambda rows: all(map(is_done, rows.values())), "all exports were complete")
        await ends_well(scene, *alive)
        report = await scene.verify()
        assert (report.completed, report.cycles) == (len(TYPES), len(TYPES))
        again = scene.simulator.file_bytes_sent - report.size
        print(f"{moved} moves and {stayed} stays: {again:,} bytes were downloaded again")
        # The block in hand, the one that is gathered behind it, and what lies in the sockets.
        assert again <= moved * rate * (2 * block_seconds + 0.5)


@pytest.mark.parametrize("instant", ["in_mid_file", "with_records_sent", "before_add"])
async def test_one_that_was_frozen_steps_down_and_takes_part_again(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, instant: str
) -> None:
    async with staged(local_kafka, prefix, tmp_path, session_timeout=f"{SESSION_SECONDS:g}s", simulated=SLOW) as scene:
        stream = scene.stream()
        trap: Trap | None = None
        if instant == "before_add":
            # Requesting is committed, but it does not know yet.
            trap = scene.proxy.hold_answer(request(Api.END_TXN))
            owner = await scene.start()
            await trap.held()
            frozen = Frozen(scene, owner)
            other = await scene.start()
        else:
            pair = {await scene.start(), await scene.start()}
            owner = (await settled(*pair))[shard_of(stream)]
            (other,) = pair - {owner}
            await other.until(lambda rows: publishes(rows[stream], owner), "the owner published")
            if instant == "with_records_sent":
                trap = scene.proxy.hold(commit_after_records_to(scene.topic(TYPE)))
                await trap.held()
            frozen = Frozen(scene, owner)
        await other.logged("shard_taken_over", shard=shard_of(stream))
        await other.until(lambda rows: works(rows[stream], other), "the other one worked on the stream")
        if trap:
            # What was on its way arrives after all.
            trap.release()
        await frozen.wake(after=2.5 * SESSION_SECONDS)
        await frozen.takes_part_again()
        await settled(owner, other)
        await other.until(lambda rows: is_done(rows[stream]), "the export was complete")
        await ends_well(scene, owner, other)
        await frozen.check_that_nothing_old_became_visible()
        print(f"{instant}: sessions lost by the one that was frozen and the other: {lost(stream, owner, other)}")
        assert max(lost(stream, owner, other)) <= 2
        report = await scene.verify()
        assert (report.completed, report.cycles, report.records) == (1, 1, LINES)
        assert (scene.simulator.requests["add"], len(scene.exports())) == (1, 1)


def lost(stream: str, *daemons: Daemon) -> list[int]:
    """How often each of them has lost its producer of the stream's shard."""
    return [losses(daemon, stream) for daemon in daemons]


async def test_one_that_is_cut_off_from_the_group_alone_leaves_its_successor_in_peace(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, session_timeout=f"{SESSION_SECONDS:g}s", simulated=SLOW) as scene:
        stream = scene.stream()
        pair = {await scene.start(), await scene.start()}
        owner = (await settled(*pair))[shard_of(stream)]
        (other,) = pair - {owner}
        await other.until(lambda rows: publishes(rows[stream], owner), "the owner published")
        # From here on neither its heartbeats nor its proofs get through, but its records do.
        trap = scene.proxy.hold(request(Api.HEARTBEAT, of=owner.name))
        await trap.held()
        revoked = len(owner.events("shards_revoked"))
        await other.logged("shard_taken_over", shard=shard_of(stream))
        await owner.logged("session_lost", shard=shard_of(stream), fenced=True)
        # Both are awake, and both believe that the shard is theirs, for a session's time.
        await asyncio.sleep(SESSION_SECONDS)
        assert len(owner.events("shards_revoked")) == revoked
        assert lost(stream, owner, other) == [1, 0]
        trap.release()
        await settled(owner, other)
        await other.until(lambda rows: is_done(rows[stream]), "the export was complete")
        await ends_well(scene, owner, other)
        print(f"sessions lost by the one that was cut off and the other: {lost(stream, owner, other)}")
        assert max(lost(stream, owner, other)) <= 2
        report = await scene.verify()
        assert (report.completed, report.cycles, report.records) == (1, 1, LINES)
        assert len(scene.exports()) == 1
