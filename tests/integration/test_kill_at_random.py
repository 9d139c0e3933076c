"""Twenty kills at moments that chance chooses, with several megabytes a second under way, and then the reckoning.

A kill hurts only where batches have left before their transaction ended, and a checkpoint written after its commit is
caught only by a kill some milliseconds behind one. So there is volume, and many kills come just after a commit.
``STREAMER_TEST_SEED`` repeats the choices of a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

from streamer.sandbox.local_kafka import LocalKafka
from tests.committed import wait_for_a_commit
from tests.daemon import Daemon
from tests.proxy import Api, request
from tests.scene import Scene, staged

# Here, because no setting of the machine reaches a test.
SEED = int(os.environ.get("STREAMER_TEST_SEED") or random.SystemRandom().randrange(10**6))

TYPES = ("Reservation", "OrderItem")
AT_ANY_TIME, AFTER_A_COMMIT, AT_A_REQUEST = 7, 10, 3
"""How often of each."""

MOST_SECONDS = 1.5
"""From the take-over, or from the first commit, until a kill."""

REQUESTS = (Api.JOIN_GROUP, Api.INIT_PRODUCER_ID, Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE, Api.END_TXN)


async def kill_at_any_time(scene: Scene, dice: random.Random) -> Daemon:
    wait = dice.uniform(0, MOST_SECONDS)
    daemon = await scene.start()
    await daemon.logged("shard_taken_over")
    await asyncio.sleep(wait)
    return daemon


async def kill_after_a_commit(scene: Scene, dice: random.Random) -> Daemon:
    after, delay = dice.uniform(0, MOST_SECONDS), dice.uniform(0, 0.010)
    daemon = await scene.start()

    def strike() -> None:
        # In a thread of its own, so that nothing in this process comes between the commit and the kill.
        topics = [scene.topic(entity_type) for entity_type in TYPES]
        wait_for_a_commit(scene.bootstrap_servers, topics, after=after)
        time.sleep(delay)
        daemon.strike()

    await asyncio.to_thread(strike)
    return daemon


async def kill_at_a_request(scene: Scene, dice: random.Random) -> Daemon:
    wanted = request(dice.choice(REQUESTS))
    trap = scene.proxy.hold(wanted) if dice.random() < 0.5 else scene.proxy.hold_answer(wanted)
    daemon = await scene.start()
    await trap.held()
    return daemon


async def test_killed_twenty_times_at_random_every_line_is_there_once(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    print(f"STREAMER_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    ways = [
        *[kill_at_any_time] * AT_ANY_TIME,
        *[kill_after_a_commit] * AFTER_A_COMMIT,
        *[kill_at_a_request] * AT_A_REQUEST,
    ]
    dice.shuffle(ways)
    # One export follows the other at once, each of some 10 MB.
    async with staged(
        local_kafka,
        prefix,
        tmp_path,
        entity_types=TYPES,
        simulated={"entities": 6000, "bytes_per_second": 6e6},
        snapshot_interval="1s",
        transaction_bytes=1_000_000,
        # Else only the first export has anything to publish.
        reconcile=False,
    ) as scene:
        # The topics have to be there before anybody can wait for a record in them.
        daemon = await scene.start()
        await daemon.until(lambda rows: any(row["phase"] == "publishing" for row in rows.values()), "publishing")
        await scene.kill(daemon)
        for kill in ways:
            daemon = await kill(scene, dice)
            await scene.kill(daemon)
        daemon = await scene.start(snapshot_interval="7d")
        report = await scene.finish(daemon)
        assert scene.kills == 21
        # It was not for nothing: exports were completed on the way, each stream's last one among them.
        assert report.completed >= 3
        assert report.records >= 30_000
