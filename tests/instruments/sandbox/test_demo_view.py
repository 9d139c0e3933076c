import io

import pytest
from rich.console import Console

from streamer.sandbox.demo_progress import StreamProgress
from streamer.sandbox.demo_proof import Verdict
from streamer.sandbox.demo_reader import Sample
from streamer.sandbox.demo_view import Picture, bar, changes, draw, event, judged, one_line, samples, shortened, size


def rendered(picture: Picture, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(draw(picture, width))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.fixture
def picture() -> Picture:
    picture = Picture(pid=4711, transactions=1234, seconds=12.0, rate=(1_234_567.0, 1e9))
    for name in ("Apache Kafka", "Mews simulator", "streamer daemon", "Proof"):
        picture.parts[name] = ("up", "x" * 120)
    for number in range(9):
        picture.news.append(f"news {number} " + "y" * 120)
    picture.streams = tuple(
        StreamProgress(
            "AvailabilityAdjustment", "publishing", size=8_765_000_000, total=9_876_000_000, records=87_654_321
        )
        for _ in picture.streams
    )
    picture.rates = {"AvailabilityAdjustment": 999_999.0}
    return picture


@pytest.mark.parametrize("width", [100, 200, 80])
def test_the_fullest_picture_fits_the_screen(picture: Picture, width: int) -> None:
    lines = rendered(picture, width)
    assert len(lines) <= 29
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if line.startswith("AvailabilityAdjustment")]
    assert len(rows) == 9
    assert rows[0].split()[0:2] == ["AvailabilityAdjustment", "publishing"]
    assert "8,765 of 9,876  87,654,321    999,999" in rows[0]


def test_tells_what_to_type_while_there_is_a_daemon(picture: Picture) -> None:
    assert any("kill -9 4711" in line for line in rendered(picture, 100))
    picture.pid = None
    assert not any("kill -9" in line for line in rendered(picture, 100))


def test_a_bar_is_full_only_when_all_is_done() -> None:
    assert bar(0, 4).plain == "────"
    assert bar(0.5, 4).plain == "━━──"
    assert bar(0.999, 4).plain == "━━━─"
    assert bar(1, 4).plain == "━━━━"


def test_sizes_are_megabytes() -> None:
    assert (size(0), size(1_234_567), size(1_234_567_890)) == ("0.0", "1.2", "1,235")


def test_streams_that_enter_a_phase_together_share_a_line() -> None:
    before = (StreamProgress("Bill"), StreamProgress("Payment"), StreamProgress("Customer", "waiting"))
    after = (
        StreamProgress("Bill", "waiting"),
        StreamProgress("Payment", "waiting"),
        StreamProgress("Customer", done=True),
    )
    assert changes(before, after) == ["waiting: Bill, Payment", "done: Customer"]
    assert changes(after, after) == []


def test_one_line_for_a_log() -> None:
    picture = Picture(
        transactions=3, rate=(10.0, 2e6), streams=(StreamProgress("Bill", records=5, size=10**6, done=True),)
    )
    assert one_line(picture) == "1 of 1 done, 5 records, 1.0 MB, 10 records/s, 2.0 MB/s, 3 transactions"


def test_a_value_is_cut_and_moves_no_cursor() -> None:
    assert shortened(b'{"Id":"1"}', 20) == '{"Id":"1"}'
    assert shortened(b"0123456789", 5) == "0123…"
    assert shortened("a\x1b[2J\u2028é".encode(), 20) == "a·[2J·é"
    # Cut within a character: what is left of it is not shown as something else.
    assert shortened("é".encode() * 100, 3) == "éé…"


def test_records_and_events_take_a_few_short_lines() -> None:
    sample = Sample("mews.bill", 3, 1234, key="k" * 36, ce_id="0123456789/0/77", value=b"v" * 2000)
    lines = [line.plain for line in samples([sample], 98)]
    assert lines[0] == "mews.bill  partition 3  offset 1,234  2,000 bytes"
    assert lines[1].split() == ["key", "k" * 36, "ce_id", "01234567…/0/77"]
    assert max(map(len, lines)) <= 98

    told = dict.fromkeys(("files", "bytes", "lines", "records", "dead_letters", "blank"), 1000)
    partitions = {"0": {"start": 4, "end": 4321}}
    completed = {"event": "export_completed", "entity_type": "Bill", "seconds": 1.5, "partitions": partitions, **told}
    assert "dead letters 1,000" in event("mews.exports", completed)[1].plain
    assert "0: 4 to 4,321" in event("mews.exports", completed)[2].plain


def test_the_verdict_says_what_is_wrong() -> None:
    assert judged(Verdict(lines=1000, records=1000)).plain.startswith("exactly once: 1,000 lines = 1,000 records")
    assert judged(Verdict(lines=1000, records=999, missing=1)).plain.startswith("NOT exactly once: 1,000 lines, 999")
