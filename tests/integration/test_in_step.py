"""Days of a moving world: in the end the topics say what the source says, and on the way nothing false.

What is compared at the end are the topics as compaction leaves them, read with another client library, and the
simulator's data set at that very moment.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from streamer.sandbox.local_kafka import LocalKafka
from tests.course import Connection, Pace, course
from tests.mishaps import fail_window

SEED = int(os.environ.get("STREAMER_TEST_SEED", "1"))
HOURS_6 = timedelta(hours=6)

SHARE = {"max_tombstone_share": 0.3}
"""Small topics and long days: between two snapshots more is gone than in years of a real hotel."""


async def test_windows_alone_miss_no_version_however_late_it_shows(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    everything = Connection("all", ("Payment", "LedgerEntry"), (0, 1, 2))
    world = {
        "entities": 400,
        "cycle_seconds": 7200,
        "births_a_day": 0.5,
        "mortal_share": 0.0,
        "late_share": 0.5,
        "late_seconds": 900,
    }
    intervals = {"update_interval": "200ms", "snapshot_interval": "7d"}
    async with course(
        local_kafka, prefix, tmp_path, connections=(everything,), simulated=world, seed=SEED, exports=intervals
    ) as on:
        await on.start()
        await on.daemon.until(lambda rows: bool(rows["all/Payment"]["last_snapshot"]), "the snapshot was completed")
        on.set_out(Pace(0.5, (HOURS_6,)))
        await on.until_day(3)
        await on.kill()
        # From here on nothing is updated again before the end: what a window misses stays missed. That is late rows
        # where windows follow one another closely, and all that was in one that came to nothing.
        pace = Pace(0.7, (timedelta(minutes=8), timedelta(minutes=13)))
        on.set_out(pace)
        await on.until_day(on.day + 0.02)
        on.stand()
        on.simulator.set_clock(now=on.simulator.now() + timedelta(hours=1))
        await fail_window(on, "Payment", timedelta(minutes=45))
        on.set_out(pace)
        await on.until_day(on.day + 0.03)
        await on.catch_up(snapshots=False)
        published = await on.published()
        on.verify(published)
        snapshots = [e for e in on.simulator.api.exports.values() if e.entity_type == "Payment" and e.filters is None]
        assert len(snapshots) == 1


async def test_a_stale_snapshot_takes_nothing_back_and_buries_nobody(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    """Snapshots hold the state of up to 50 minutes before their request, when windows have told of newer ones."""
    world = {
        "entities": 100,
        "cycle_seconds": 3600,
        "births_a_day": 10.0,
        "mortal_share": 0.0,
        "late_share": 0.0,
        "stale_seconds": 3000,
    }
    intervals = {"update_interval": "200ms", "snapshot_interval": "700ms", **SHARE}
    bills = Connection("all", ("Bill",), (0, 1, 2))
    async with course(
        local_kafka, prefix, tmp_path, connections=(bills,), simulated=world, seed=SEED, exports=intervals
    ) as on:
        await on.start()
        await on.snapshots_of("Bill", 1)
        on.set_out(Pace(0.4, (timedelta(minutes=12),)))
        await on.snapshots_of("Bill", 6)
        await on.catch_up(snapshots=True)
        published = await on.published()
        on.verify(published)
        assert not [record for record in published.records[on.topic("Bill")] if record.value is None]
