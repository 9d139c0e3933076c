"""Thirty days of a moving world, with everything that can go wrong on the way: in the end the topics are the source.

Not part of what ``scripts/test`` runs by itself, because it takes one to four minutes: ``scripts/test tests/courses``.
What it came to is in docs/reliability.md.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

from streamer.sandbox.local_kafka import LocalKafka
from tests.course import Connection, Course, Pace, course
from tests.facts import Published
from tests.mishaps import kill_amid_tombstones, kill_in_snapshot, spoil

DAYS = float(os.environ.get("STREAMER_TEST_DAYS", "30"))
"""More of them take as much longer."""

SEED = int(os.environ.get("STREAMER_TEST_SEED", "1"))
HOURS_3, HOURS_6, MINUTES_20 = timedelta(hours=3), timedelta(hours=6), timedelta(minutes=20)

NORTH = Connection("north", ("Bill", "Reservation", "Customer"), (0, 1))
SOUTH = Connection("south", ("Bill", "Customer"), (2,))
"""Its bills go to the same topic as those of the north, and its customers are the same ones: they are the chain's."""

SHARE = {"max_tombstone_share": 0.3}
"""Small topics and long days: between two snapshots more is gone than in years of a real hotel."""


async def test_after_thirty_days_of_kills_the_topics_are_the_source_and_nobody_was_buried_alive(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    world = {
        "entities": 300,
        "cycle_seconds": 3 * 86_400,
        "births_a_day": 0.03,
        "mortal_share": 0.5,
        "late_share": 0.2,
        "late_seconds": 900,
        # With the late rows, less than the hour for which nobody is called gone.
        "stale_seconds": 2400,
    }
    intervals = {"update_interval": "1s", "snapshot_interval": "4s", **SHARE}
    async with course(
        local_kafka, prefix, tmp_path, connections=(NORTH, SOUTH), simulated=world, seed=SEED, exports=intervals
    ) as on:
        await on.start()
        on.set_out(Pace(0.2, (MINUTES_20, HOURS_3, HOURS_6)))
        while on.day < DAYS:
            await a_hard_week(on)
        assert on.kills >= 5
        # By now so much may be gone at once that the guard holds it back; somebody has looked, and says so.
        await on.restart(max_tombstone_share=1.0)
        await on.catch_up(snapshots=True)
        published = await on.published()
        on.verify(published)
        the_course_was_hard(on, published)


async def a_hard_week(on: Course) -> None:
    """Everything that can go wrong, one after the other, with some quiet in between."""
    await on.until_day(on.day + 1)
    await kill_in_snapshot(on, "Bill")
    spoil(on, "Reservation", exports=4)
    await kill_amid_tombstones(on, "Bill", committed=False)
    # A scope is lost: by another configuration, then because the token reaches less than it did.
    await on.restart(scope=(0,), max_tombstone_share=0.95)
    await on.snapshots_of("Bill", 2)
    await on.restart()
    await kill_in_snapshot(on, "Customer")
    on.simulator.set_reach(0, (1,))
    await on.snapshots_of("Bill", 2)
    on.simulator.set_reach(0, (0, 1))
    # Only its size gives such a snapshot away. So none of them may be left over when the guard is lifted, further down.
    for entity_type in NORTH.entity_types:
        await on.snapshots_of(entity_type, 1)
    spoil(on, "Bill", exports=4)
    await on.until_day(on.day + on.dice.random())
    await on.kill()
    await kill_amid_tombstones(on, "Reservation", committed=True)


def the_course_was_hard(on: Course, published: Published) -> None:
    """What the test is about did happen."""
    events = [json.loads(record.value or b"") for record in published.records[on.topic("Exports")]]
    done = [event for event in events if event["event"] == "export_completed"]
    told = {kind: sum(event["kind"] == kind for event in done) for kind in ("snapshot", "window")}
    tombstones = sum(event["tombstones"] for event in done)
    withheld = [event for event in done if event.get("tombstones_withheld")]
    letters = len(published.records[on.topic("DeadLetters")])
    print(f"{on.day:.1f} days, {on.kills} kills, {told}, {tombstones} tombstones, {letters} dead letters")
    print(f"withheld: {sorted({event['tombstones_withheld_why'] for event in withheld})}")
    assert told["snapshot"] >= 10
    assert told["window"] >= 30
    assert tombstones >= 30
    assert letters >= 3
    assert any(event["unchanged"] for event in done)
    assert withheld
    merged = [line for line in on.truth("Customer").values() if b'"MergeTargetId":null' not in line]
    assert len(merged) > 20
