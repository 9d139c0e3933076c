from typing import Any

from streamer.sandbox.demo_progress import (
    NOTHING_YET,
    Meter,
    StreamProgress,
    is_mid_file,
    read_streams,
    share,
    transactions,
)
from tests.unit.cases import cases

COUNTS = {"bytes": 500, "lines": 7, "records": 6, "dead_letters": 1, "export_id": "e1"}


def row(**fields: Any) -> dict[str, Any]:
    return {"entity_type": "Bill", "phase": "waiting", "error": None, "export": None, "last_snapshot": None, **fields}


def bill(streams: tuple[StreamProgress, ...]) -> StreamProgress:
    return next(stream for stream in streams if stream.entity_type == "Bill")


def test_a_stream_goes_from_waiting_over_publishing_to_done() -> None:
    waiting = read_streams([row(export={"kind": "snapshot"})], NOTHING_YET)
    assert bill(waiting) == StreamProgress("Bill", "waiting")

    export = {**COUNTS, "bytes_total": 900, "file": 1, "files": 3}
    publishing = read_streams([row(phase="publishing", export=export)], waiting)
    assert bill(publishing) == StreamProgress(
        "Bill", "publishing", size=500, total=900, records=6, lines=7, dead_letters=1, file=1, files=3, export_id="e1"
    )
    done = read_streams([row(phase="idle", last_snapshot=COUNTS)], publishing)
    assert bill(done).done
    assert (bill(done).words, bill(done).total) == ("done", 500)
    assert [stream.entity_type for stream in done] == [stream.entity_type for stream in NOTHING_YET]


def test_what_a_new_daemon_does_not_know_yet_stays_as_it_was() -> None:
    before = read_streams([row(phase="idle", last_snapshot=COUNTS)], NOTHING_YET)
    assert read_streams([row(phase="idle")], before) == before
    assert read_streams([], before) == before


def test_counts_committed_transactions_alone() -> None:
    page = (
        "# TYPE streamer_transactions_total counter\n"
        'streamer_transactions_total{connection="a",entity_type="Bill",outcome="committed"} 5.0\n'
        'streamer_transactions_total{connection="a",entity_type="Bill",outcome="aborted"} 2.0\n'
        'streamer_transactions_total{connection="a",entity_type="Payment",outcome="committed"} 3.0\n'
        "# TYPE streamer_records_total counter\n"
        'streamer_records_total{connection="a",entity_type="Bill"} 50.0\n'
    )
    assert transactions(page) == 8
    assert transactions("") == 0


@cases(("size", "mid_file"), [(0, False), (1, True), (10, False), (15, True), (30, False)])
def test_knows_when_a_stream_is_in_the_middle_of_a_file(size: int, mid_file: bool) -> None:
    assert is_mid_file(StreamProgress("Bill", "publishing", size=size), [10, 20]) is mid_file


def test_share_of_nothing_is_nothing() -> None:
    assert share(NOTHING_YET, 0) == 0
    assert share([StreamProgress("Bill", size=5), StreamProgress("Payment", size=1)], 12) == 0.5


def test_rates_are_of_late_and_of_the_time_of_work() -> None:
    meter = Meter()
    assert meter.recent == meter.overall == (0.0, 0.0)
    for second in range(11):
        meter.saw(100.0 + second, records=0, size=0)
    for second in range(1, 11):
        meter.saw(110.0 + second, records=100 * second, size=1000 * second)
    for second in range(1, 11):
        meter.saw(120.0 + second, records=1000, size=10_000)
    assert meter.recent == (0.0, 0.0)
    assert meter.overall == (100.0, 1000.0)
    assert meter.seconds == 10
