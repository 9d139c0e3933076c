"""A stream that is taken out of the settings and retired by a signal, through kills over that and amid its tombstones.

Another connection has the same topic, and nothing of it may go. The shard has no stream with settings, so it is taken
over for this alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streamer.sandbox.local_kafka import LocalKafka
from tests.course import Connection, Course, course
from tests.facts import Record
from tests.group import shard_of
from tests.processes import Said, streamer
from tests.proxy import Trap, Wanted, commit_after_records_to, commit_after_tombstones_to
from tests.reckoning import by_id, differences, none_of
from tests.secured import client

SOLD = Connection("sold", ("Bill",), (0,))
KEPT = Connection("kept", ("Bill",), (1, 2))
STREAM = "sold/Bill"
RESTING = {"entities": 900, "mortal_share": 0.0, "late_share": 0.0}
INTERVALS = {"update_interval": "off", "snapshot_interval": "7d", "transaction_bytes": 8_000}


def write_signal(on: Course, key: str, value: bytes) -> None:
    """As any client of Kafka may."""
    producer = Producer(client(on.bootstrap_servers))
    producer.produce(on.topic("Signals"), value, key)
    assert producer.flush(30) == 0


async def command(on: Course, *arguments: str) -> Said:
    return await streamer(*arguments, "--config", str(on.config), cwd=on.config.parent, environment=on.environment)


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after the commit"])
async def test_what_a_connection_leaves_behind_is_buried_once_and_nobody_elses(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path, committed: bool
) -> None:
    async with course(
        local_kafka, prefix, tmp_path, connections=(SOLD, KEPT), simulated=RESTING, exports=INTERVALS
    ) as on:
        assert shard_of(STREAM) not in {shard_of(f"{KEPT.name}/{entity_type}") for entity_type in KEPT.entity_types}
        await on.start()
        await on.daemon.until(lambda rows: all(row["last_snapshot"] for row in rows.values()), "both were complete")
        bills = by_id(on.simulator.truth("Bill", token=0))
        on.unconfigured = {STREAM}
        await on.restart()

        # Of streams that never were nobody is in doubt either.
        write_signal(on, "nobody/Bill", b'{"signal": "pause"}')
        await on.daemon.logged("signal_rejected")

        def trapped(wanted: Wanted) -> Trap:
            return on.proxy.hold_answer(wanted) if committed else on.proxy.hold(wanted)

        signal = trapped(commit_after_records_to(on.topic("Exports"), b'"signal_applied"', b'"retire"'))
        refused = await command(on, "signal", "retire", "sold/Bills", "--repeat", "sold/Bills")
        assert (refused.code, 'did you mean "sold/Bill"' in refused.stderr) == (1, True), refused
        written = await command(on, "signal", "retire", STREAM, "--repeat", STREAM)
        assert written.code == 0, written
        await signal.held()
        await on.kill()
        tombstones = trapped(commit_after_tombstones_to(on.topic("Bill")))
        await tombstones.held()
        await on.kill()
        await on.daemon.logged("stream_retired")
        # Heard again from the beginning, and answered already.
        await on.restart()
        await on.daemon.until(lambda rows: STREAM in rows, "the checkpoints were read")
        assert (await on.daemon.streams())[STREAM]["phase"] == "retired"
        published = await on.published()
        records = published.records[on.topic("Bill")]
        none_of(differences(records, on.truth("Bill")))
        graves = Counter(record.key for record in records if record.value is None)
        assert graves == dict.fromkeys(bills, 1)
        told = [json.loads(record.value or b"") for record in published.records[on.topic("Exports")]]
        assert [e["key"] for e in told if e["event"] == "signal_rejected"] == ["nobody/Bill"]
        check_told(published.records[on.topic("Exports")], [record for record in records if record.value is None])
        proved = await command(on, "verify")
        assert proved.code == 0, proved
        assert not [line for daemon in on.daemons for line in daemon.complaints()]


def check_told(events: Sequence[Record], tombstones: Sequence[Record]) -> None:
    """One answer and one end, and where the tombstones are."""
    told = [json.loads(record.value or b"") for record in events if record.key == STREAM.encode()]
    applied, retired = [event for event in told if not event["event"].startswith(("export_", "file_"))]
    assert (applied["event"], applied["signal"]) == ("signal_applied", "retire")
    assert (retired["event"], retired["tombstones"]) == ("stream_retired", len(tombstones))
    for number, counts in retired["partitions"].items():
        offsets = [record.offset for record in tombstones if record.partition == int(number)]
        assert (counts["tombstones"], counts["start"], counts["end"]) == (len(offsets), offsets[0], offsets[-1] + 1)
