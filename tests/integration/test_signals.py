"""Every kind of signal takes effect once, and is answered once; ``retire``, ``replay``, ``erase`` have their own tests.

Killed with SIGKILL while the transactions are under way that heed them, or when they are committed and no answer has
come. Each stream has its own signal and its own shard, so one kill meets them all.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from streamer.sandbox.exports import Export, Status
from streamer.sandbox.faults import FaultRule, Lost
from streamer.sandbox.faults import Status as Answer
from streamer.sandbox.local_kafka import LocalKafka
from tests.course import SETTLED, Connection, Course, course
from tests.daemon import ASK_AGAIN_SECONDS, PATIENCE, Row
from tests.group import shard_of
from tests.proxy import commit_after_records_to
from tests.secured import client

SIGNALS = {
    "Bill": {"signal": "snapshot_now"},
    "Reservation": {"signal": "window_now"},
    "Payment": {"signal": "pause"},
    "OrderItem": {"signal": "resume"},
    "Customer": {"signal": "abandon_export"},
    "Company": {"signal": "adopt_export"},
    "ResourceBlock": {"signal": "retry"},
    "AvailabilityBlock": {"signal": "let_tombstones_through"},
}
PARK = Connection("park", tuple(SIGNALS), (0, 1, 2))
"""A name with which each of them has a shard of its own."""

ASKED_FOR = {"Bill": 2, "Reservation": 2, "Customer": 2}
"""How many exports there are of each in the end, but for one."""

RESTING = {"entities": 30, "mortal_share": 0.0, "late_share": 0.0, "processing_seconds": 1.0}
INTERVALS = {"update_interval": "off", "snapshot_interval": "7d"}


def stream(entity_type: str) -> str:
    return f"{PARK.name}/{entity_type}"


async def write(on: Course, signals: dict[str, dict[str, Any]]) -> None:
    """As any client of Kafka may."""
    producer = Producer(client(on.bootstrap_servers))
    for entity_type, signal in signals.items():
        producer.produce(on.topic("Signals"), json.dumps(signal), stream(entity_type))
    assert await asyncio.to_thread(producer.flush, 30) == 0


async def kept_in_work(on: Course, entity_type: str) -> Export:
    """The first export of a type, as soon as it is asked for; Mews will not finish it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for export in on.simulator.api.exports.values():
                if export.entity_type == entity_type:
                    on.simulator.set_status(export.id, Status.PROCESSING)
                    return export
            await asyncio.sleep(ASK_AGAIN_SECONDS / 3)


def is_ready(rows: dict[str, Row]) -> bool:
    """Whether each stream is in the state that its signal is for."""
    phases = {"Customer": "waiting", "Company": "requesting", "ResourceBlock": "stopped"}
    return (
        all(rows[stream(entity_type)]["phase"] == phases.get(entity_type, "idle") for entity_type in SIGNALS)
        and all(rows[stream(t)]["last_snapshot"] for t in SIGNALS if t not in phases)
        and bool(rows[stream("Company")]["export"]["blocked_since"])
    )


def has_come_of_it(rows: dict[str, Row]) -> bool:
    """Whether each stream has done what its signal asks for."""
    return (
        all(rows[stream(entity_type)]["phase"] == "idle" for entity_type in SIGNALS)
        and all(rows[stream(entity_type)]["last_snapshot"] for entity_type in SIGNALS)
        and bool(rows[stream("Reservation")]["last_window"])
        and rows[stream("Payment")]["paused"]
        and not rows[stream("OrderItem")]["paused"]
        and rows[stream("AvailabilityBlock")]["wanted"] == ["tombstones"]
        and not rows[stream("Bill")]["wanted"]
    )


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
async def test_each_signal_takes_effect_once_though_the_daemon_dies_over_it(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, committed: bool
) -> None:
    assert len({shard_of(stream(entity_type)) for entity_type in SIGNALS}) == len(SIGNALS)
    async with course(local_kafka, prefix, tmp_path, connections=(PARK,), simulated=RESTING, exports=INTERVALS) as on:
        on.simulator.add_fault(FaultRule(on="add", entity_type="Company", action=Lost()))
        on.simulator.add_fault(FaultRule(on="add", entity_type="ResourceBlock", action=Answer(code=403)))
        await on.start()
        orphan, given_up = await asyncio.gather(kept_in_work(on, "Company"), kept_in_work(on, "Customer"))
        await on.daemon.until(is_ready, "the streams were ready")
        await write(on, {"OrderItem": {"signal": "pause"}})
        await on.daemon.until(lambda rows: bool(rows[stream("OrderItem")]["paused"]), "one was paused")
        # Else a window would hold nothing that is new.
        on.simulator.hold_still()
        on.simulator.set_clock(now=on.simulator.now() + SETTLED)
        traps = []
        for entity_type in SIGNALS:
            wanted = commit_after_records_to(on.topic("Exports"), b'"signal_applied"', f'"{entity_type}"'.encode())
            traps.append(on.proxy.hold_answer(wanted) if committed else on.proxy.hold(wanted))
        await write(on, {**SIGNALS, "Company": {"signal": "adopt_export", "export_id": orphan.id}})
        for trap in traps:
            await trap.held()
        await on.kill()
        for export in (orphan, given_up):
            on.simulator.set_status(export.id, None)
        await on.daemon.until(has_come_of_it, "all was done", within=2 * PATIENCE)
        # Heard again from the beginning, and answered already.
        await on.restart()
        await on.daemon.until(has_come_of_it, "it was all still done")
        asked_for = Counter(export.entity_type for export in on.simulator.api.exports.values())
        assert asked_for == {entity_type: ASKED_FOR.get(entity_type, 1) for entity_type in SIGNALS}
        published = await on.published()
        told = [json.loads(record.value or b"") for record in published.records[on.topic("Exports")]]
        answers = Counter((event["entity_type"], event["signal"]) for event in told if "signal" in event)
        expected = [(entity_type, signal["signal"]) for entity_type, signal in SIGNALS.items()]
        assert answers == Counter([*expected, ("OrderItem", "pause")])
        (failed,) = [event for event in told if event["event"] == "export_failed"]
        assert (failed["export_id"], failed["entity_type"]) == (given_up.id, "Customer")
        assert [e["export_id"] for e in told if e["event"] == "export_completed" and e["entity_type"] == "Company"] == [
            orphan.id
        ]
        on.verify(published)
