"""What becomes of each kind of line, read from a real Kafka: record, dead letter or blank, and its place exactly.

One run publishes all of it, a stream for each family of cases; the tests look at what is there afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from streamer.model import EntityType
from streamer.sandbox.simulator import Simulator
from tests.brokers import Kafka
from tests.committed import Record
from tests.replica import (
    INSTANT,
    RunningReplica,
    Seen,
    check_published,
    create_topic,
    running,
    see,
    see_now,
    settings_for,
)

MAX_LINE_BYTES = 20_000
SMALL_TOPIC_BYTES = 2_000
SMALL_DEAD_LETTER_TOPIC_BYTES = 3_000

BAD = EntityType.RESERVATION
GOOD = EntityType.CUSTOMER
NOTHING = EntityType.BILL
EMPTY_FILES = EntityType.PAYMENT
SMALL_TOPIC = EntityType.COMPANY
REPEATED = EntityType.ORDER_ITEM

VALUE, KEY, PRODUCE = "VALUE_CONVERTER", "KEY_CONVERTER", "KAFKA_PRODUCE"

TOO_LONG = b'{"Id":"too-long","Text":"' + b"x" * MAX_LINE_BYTES + b'"}'
JUST_SHORT_ENOUGH = b'{"Id":"at-the-limit","Text":"' + b"x" * (MAX_LINE_BYTES - 31) + b'"}'

BAD_LINES: Mapping[str, tuple[bytes, str, str]] = {
    "no JSON at all": (b"once upon a time", "bad_json", VALUE),
    "JSON that breaks off": (b'{"Id":"half","Name":"ha', "bad_json", VALUE),
    "something after the object": (b'{"Id":"more"} {"Id":"than one"}', "bad_json", VALUE),
    "JSON of JavaScript": (b'{"Id":"nan","Rate":NaN}', "bad_json", VALUE),
    "a control character in a string": (b'{"Id":"tab","Name":"a\tb"}', "bad_json", VALUE),
    "half a surrogate pair, escaped, in the Id": (rb'{"Id":"\ud83d"}', "bad_json", VALUE),
    "half a surrogate pair, escaped, elsewhere": (rb'{"Id":"s","Name":"\ud83d"}', "bad_json", VALUE),
    "a byte order mark within the file": (b'\xef\xbb\xbf{"Id":"mark"}', "bad_json", VALUE),
    "white space that JSON does not know": (b"\x0b\x0c", "bad_json", VALUE),
    "a carriage return alone in the middle": (b'{"Id":"a"}\r{"Id":"b"}', "bad_json", VALUE),
    "no Id": (b'{"Name":"nobody"}', "no_id", KEY),
    "an Id of something inside": (b'{"Customer":{"Id":"inside"}}', "no_id", KEY),
    "an id in lower case": (b'{"id":"lower"}', "no_id", KEY),
    "an empty object": (b"{}", "no_id", KEY),
    "a list": (b'[{"Id":"in a list"}]', "no_id", KEY),
    "a bare string": (b'"Id"', "no_id", KEY),
    "a bare null": (b"null", "no_id", KEY),
    "an Id that is null": (b'{"Id":null}', "null_id", KEY),
    "an Id that is null at last": (b'{"Id":"first","Id":null}', "null_id", KEY),
    "an Id that is a number": (b'{"Id":4711}', "id_not_text", KEY),
    "an Id that is an object": (b'{"Id":{"Value":"deeper"}}', "id_not_text", KEY),
    "an Id that is a list": (b'{"Id":["one"]}', "id_not_text", KEY),
    "an Id that is true": (b'{"Id":true}', "id_not_text", KEY),
    "an empty Id": (b'{"Id":"","Name":"no key"}', "empty_id", KEY),
    "bad UTF-8 in the Id": (b'{"Id":"b\xff\xfed"}', "bad_utf8", VALUE),
    "bad UTF-8 in a string that nobody reads": (b'{"Id":"fine","Name":"J\xf6rg"}', "bad_utf8", VALUE),
    "a surrogate pair as bytes": (b'{"Id":"cesu","Name":"\xed\xa0\xbd\xed\xb8\x80"}', "bad_utf8", VALUE),
    "UTF-8 that breaks off": (b'{"Id":"cut","Name":"\xe2\x82"}', "bad_utf8", VALUE),
    "lists too deep": (b'{"Id":"deep","L":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "too_deep", VALUE),
    "objects too deep": (b'{"Id":"deep","O":' + b'{"O":' * 3_000 + b"1" + b"}" * 3_000 + b"}", "too_deep", VALUE),
    "a line too long": (TOO_LONG, "line_too_long", VALUE),
    "a line too long that is no JSON": (b"y" * (MAX_LINE_BYTES + 1), "line_too_long", VALUE),
}

# Each between two good ones, with a file's end after some of them.
BAD_FILES = [
    b"".join(
        b'{"Id":"before-%d"}\n' % number
        + line
        + (b"\r\n" if number % 3 == 0 else b"\n")
        + b'{"Id":"after-%d"}\n' % number
        for number, (line, _, _) in list(enumerate(BAD_LINES.values()))[start::2]
    )
    for start in range(2)
]

GOOD_FILES: Mapping[str, tuple[bytes, list[tuple[int, str, bytes]]]] = {
    r"\r\n at line ends": (
        b'{"Id":"r1"}\r\n{"Id":"r2"}\r\n{"Id":"r3"}\n{"Id":"r4"}\r\r\n',
        [
            (0, "r1", b'{"Id":"r1"}'),
            (13, "r2", b'{"Id":"r2"}'),
            (26, "r3", b'{"Id":"r3"}'),
            (38, "r4", b'{"Id":"r4"}\r'),
        ],
    ),
    "blank lines": (
        b'\n\r\n \t \n{"Id":"b1"}\n\n\n{"Id":"b2"}\n   ',
        [(7, "b1", b'{"Id":"b1"}'), (21, "b2", b'{"Id":"b2"}')],
    ),
    "a byte order mark at the start": (
        b'\xef\xbb\xbf{"Id":"m1"}\n{"Id":"m2"}\n',
        [(3, "m1", b'{"Id":"m1"}'), (15, "m2", b'{"Id":"m2"}')],
    ),
    "nothing but a byte order mark": (b"\xef\xbb\xbf", []),
    "separators that are no line ends": (
        '{"Id":"u1","T":"a\u2028b\u2029c\x85d\x7f"}\n{"Id":"u2"}\n'.encode(),
        [(0, "u1", '{"Id":"u1","T":"a\u2028b\u2029c\x85d\x7f"}'.encode()), (32, "u2", b'{"Id":"u2"}')],
    ),
    "no newline at the end": (
        b'{"Id":"n1"}\n{"Id":"n2"}',
        [(0, "n1", b'{"Id":"n1"}'), (12, "n2", b'{"Id":"n2"}')],
    ),
    "no newline at the end, but a carriage return": (
        b'{"Id":"c1"}\r',
        [(0, "c1", b'{"Id":"c1"}')],
    ),
    "no bytes at all": (b"", []),
    "escapes in the Id": (
        b'{"Id":"\\u0061\\/\\"\\\\\\n"}\n{"\\u0049d":"name of the field"}\n{"Id":"\\ud83d\\ude00"}\n',
        [
            (0, 'a/"\\\n', b'{"Id":"\\u0061\\/\\"\\\\\\n"}'),
            (24, "name of the field", b'{"\\u0049d":"name of the field"}'),
            (56, "😀", b'{"Id":"\\ud83d\\ude00"}'),
        ],
    ),
    "odd spacing, kept as it is": (
        b' { "Name" : 1.50e+3 , "Id" : "s1" } \n',
        [(0, "s1", b' { "Name" : 1.50e+3 , "Id" : "s1" } ')],
    ),
    "two Ids in an object: the last one counts": (
        b'{"Id":"first","Id":"last"}\n',
        [(0, "last", b'{"Id":"first","Id":"last"}')],
    ),
    "a line exactly as long as allowed": (JUST_SHORT_ENOUGH + b"\r\n", [(0, "at-the-limit", JUST_SHORT_ENOUGH)]),
    "an Id of other scripts": (
        '{"Id":"Zoë 客室 \u202e"}\n'.encode(),
        [(0, "Zoë 客室 \u202e", '{"Id":"Zoë 客室 \u202e"}'.encode())],
    ),
}

REPEATED_FILES = [b'{"Id":"same","N":1}\n{"Id":"other"}\n{"Id":"same","N":2}\n', b'{"Id":"same","N":2}\n']

# A byte more each: somewhere among them is the first that the topic would refuse.
SWEEP = {f"k{size}": b'{"Id":"k%d","T":"%s"}' % (size, b"x" * (size - 19)) for size in range(1_000, 2_600, 10)}


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run has left behind."""

    seen: Seen
    simulator: Simulator
    rows: Mapping[str, Mapping[str, Any]]

    def entities(self, entity_type: EntityType) -> list[Record]:
        return self.seen.entities(entity_type)


@pytest.fixture(scope="module")
def run(kafka: Kafka) -> Run:
    """One replica with a stream for each family, run until all have completed an export."""
    return asyncio.run(_publish_everything(kafka.bootstrap_servers, f"bad-input-{uuid.uuid4().hex[:8]}"))


async def _publish_everything(bootstrap_servers: str, prefix: str) -> Run:
    create_topic(bootstrap_servers, f"{prefix}.{SMALL_TOPIC.slug}", max_message_bytes=str(SMALL_TOPIC_BYTES))
    types = (BAD, GOOD, NOTHING, EMPTY_FILES, SMALL_TOPIC, REPEATED)
    async with Simulator(INSTANT) as simulator:
        simulator.set_data(BAD, BAD_FILES)
        simulator.set_data(GOOD, [contents for contents, _ in GOOD_FILES.values()])
        simulator.set_data(NOTHING, [])
        simulator.set_data(EMPTY_FILES, [b"", b""])
        simulator.set_data(SMALL_TOPIC, [b"".join(line + b"\n" for line in SWEEP.values())])
        simulator.set_data(REPEATED, REPEATED_FILES)
        settings = settings_for(
            bootstrap_servers,
            prefix,
            simulator.url,
            *types,
            exports={"max_line_bytes": MAX_LINE_BYTES, "max_dead_letters": 1_000, "transaction_bytes": 8_000},
        )
        async with running(settings) as replica:
            # Not each by itself: a case that goes wrong must fail its own test and not all of them.
            with contextlib.suppress(AssertionError):
                await replica.completed(*types)
            rows = {row["entity_type"]: row for row in replica.replica.rows()}
            assert replica.metrics.producer_restarts._value.get() == 0, "something was sent that Kafka refused"
        return Run(await see(bootstrap_servers, prefix), simulator, rows)


# --- dead letters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_line_that_is_no_entity_becomes_a_dead_letter_with_its_reason_and_place(run: Run, case: str) -> None:
    line, reason, stage = BAD_LINES[case]
    index, number, offset = _place(line, BAD_FILES)
    export_id = run.seen.completed(BAD)["export_id"]
    (letter,) = [r for r in run.seen.dead_letters(BAD) if r.header("ce_id") == f"{export_id}/{index}/{offset}"]
    headers = dict(letter.headers)
    message = headers.pop("__connect.errors.exception.message").decode()
    assert message
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": f"{export_id}/{index}/{offset}".encode(),
        "ce_source": b"/mews/alpine",
        "ce_type": b"streamer.dead_letter",
        "content-type": b"application/octet-stream",
        "__connect.errors.exception.class.name": reason.encode(),
        "__connect.errors.stage": stage.encode(),
        "streamer.entity.type": b"Reservation",
        "streamer.line": b"%d" % number,
        "streamer.length": b"%d" % len(line),
    }
    assert len(letter.headers) == len(headers) + 1
    assert letter.key == b"alpine/Reservation"
    assert letter.value == line[:MAX_LINE_BYTES]


@pytest.mark.parametrize("case", BAD_LINES)
def test_the_lines_around_a_dead_letter_are_published_at_their_places(run: Run, case: str) -> None:
    line, number = BAD_LINES[case][0], list(BAD_LINES).index(case)
    index, _, offset = _place(line, BAD_FILES)
    before, after = b'{"Id":"before-%d"}' % number, b'{"Id":"after-%d"}' % number
    line_end = 2 if number % 3 == 0 else 1
    export_id = run.seen.completed(BAD)["export_id"]
    by_id = {record.header("ce_id"): record for record in run.entities(BAD)}
    for neighbour, at in ((before, offset - len(before) - 1), (after, offset + len(line) + line_end)):
        record = by_id[f"{export_id}/{index}/{at}"]
        assert record.value == neighbour
        assert dict(record.headers) == {
            "ce_specversion": b"1.0",
            "ce_id": f"{export_id}/{index}/{at}".encode(),
            "ce_source": b"/mews/alpine",
            "ce_type": b"com.mews.Reservation",
            "content-type": b"application/json",
        }


def test_the_counts_of_an_export_with_dead_letters_add_up(run: Run) -> None:
    check_published(run.simulator, run.seen)
    told = run.seen.completed(BAD)
    bad = len(BAD_LINES)
    assert (told["lines"], told["records"], told["dead_letters"], told["blank"]) == (3 * bad, 2 * bad, bad, 0)
    assert (told["unchanged"], told["tombstones"], told["files"]) == (0, 0, 2)
    assert told["bytes"] == sum(map(len, BAD_FILES))
    row = run.rows[BAD.value]
    assert (row["phase"], row["error"], row["last_snapshot"]["dead_letters"]) == ("idle", None, bad)


def _place(line: bytes, files: list[bytes]) -> tuple[int, int, int]:
    """Index of the file, number of the line from 1, and offset of a line that is there once."""
    ((index, offset),) = [
        (index, contents.index(b"\n" + line + end) + 1)
        for index, contents in enumerate(files)
        for end in (b"\n", b"\r\n")
        if b"\n" + line + end in contents
    ]
    return index, files[index].count(b"\n", 0, offset) + 1, offset


# --- lines that only look odd ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOOD_FILES)
def test_a_file_that_only_looks_odd_is_published_to_the_byte(run: Run, case: str) -> None:
    index, (_, expected) = list(GOOD_FILES).index(case), GOOD_FILES[case]
    prefix = f"{run.seen.completed(GOOD)['export_id']}/{index}/"
    found = {
        record.header("ce_id"): ((record.key or b"").decode(), record.value)
        for record in run.entities(GOOD)
        if prefix in record.header("ce_id")
    }
    assert found == {f"{prefix}{offset}": (key, value) for offset, key, value in expected}


def test_blank_lines_are_counted_and_nothing_else(run: Run) -> None:
    check_published(run.simulator, run.seen)
    told = run.seen.completed(GOOD)
    records = sum(len(expected) for _, expected in GOOD_FILES.values())
    # `\n`, `\r\n`, ` \t \n`, `\n`, `\n` and the spaces after the last newline.
    assert (told["records"], told["dead_letters"], told["blank"], told["lines"]) == (records, 0, 6, records + 6)
    assert told["bytes"] == sum(len(contents) for contents, _ in GOOD_FILES.values())
    assert run.seen.dead_letters(GOOD) == []


def test_lines_with_one_id_are_all_published_in_their_order(run: Run) -> None:
    check_published(run.simulator, run.seen)
    same = [record for record in run.entities(REPEATED) if record.key == b"same"]
    assert [record.value for record in same] == [b'{"Id":"same","N":1}', b'{"Id":"same","N":2}', b'{"Id":"same","N":2}']
    assert len({record.partition for record in same}) == 1


# --- exports without lines ------------------------------------------------------------------------------------


def test_an_export_without_files_completes(run: Run) -> None:
    told = run.seen.completed(NOTHING)
    assert run.seen.told(NOTHING) == ["export_requested", "export_ready", "export_completed"]
    counts = ("files", "bytes", "lines", "records", "dead_letters", "blank")
    assert [told[name] for name in counts] == [0] * 6
    assert told["partitions"] == {}
    assert run.rows[NOTHING.value]["phase"] == "idle"
    assert run.entities(NOTHING) == []


def test_an_export_of_files_of_no_bytes_completes_and_tells_of_each_file(run: Run) -> None:
    told = run.seen.completed(EMPTY_FILES)
    assert run.seen.told(EMPTY_FILES) == [
        "export_requested", "export_ready", "file_published", "file_published", "export_completed",
    ]  # fmt: skip
    assert (told["files"], told["lines"], told["partitions"]) == (2, 0, {})


# --- sizes ----------------------------------------------------------------------------------------------------


def test_a_record_over_what_its_topic_accepts_is_found_before_it_is_sent(run: Run) -> None:
    check_published(run.simulator, run.seen)
    published = {(record.key or b"").decode() for record in run.entities(SMALL_TOPIC)}
    letters = run.seen.dead_letters(SMALL_TOPIC)
    longest = max(len(SWEEP[key]) for key in published)
    # What fits, headers and framing included, is published; not a byte of it is wasted on caution beyond that.
    assert SMALL_TOPIC_BYTES - 650 < longest < SMALL_TOPIC_BYTES
    assert published == {key for key, line in SWEEP.items() if len(line) <= longest}
    assert {letter.header("__connect.errors.exception.class.name") for letter in letters} == {"record_too_large"}
    assert {letter.header("__connect.errors.stage") for letter in letters} == {PRODUCE}
    by_length = {letter.header("streamer.length"): letter.value or b"" for letter in letters}
    for line in SWEEP.values():
        if len(line) > longest:
            # As many bytes as the dead letters' own topic takes may be kept; here the entity topic's limit is less.
            kept = by_length[str(len(line))]
            assert line.startswith(kept)
            assert len(kept) > 1_000


async def test_a_dead_letter_over_what_its_topic_accepts_keeps_its_first_bytes(kafka: Kafka, prefix: str) -> None:
    limit = SMALL_DEAD_LETTER_TOPIC_BYTES
    create_topic(kafka.bootstrap_servers, f"{prefix}.dead-letters", max_message_bytes=str(limit))
    rubbish = [b"%d" % size + b"r" * size for size in (1_000, limit - 1_100, limit - 1_000, limit, 5 * limit)]
    async with Simulator(INSTANT) as simulator:
        simulator.set_data(BAD, [b"\n".join([b'{"Id":"one"}', *rubbish, b'{"Id":"two"}'])])
        async with running(settings_for(kafka.bootstrap_servers, prefix, simulator.url)) as replica:
            await replica.completed()
    seen = see_now(kafka.bootstrap_servers, prefix)
    letters = {letter.header("streamer.length"): letter.value or b"" for letter in seen.dead_letters()}
    assert set(letters) == {str(len(line)) for line in rubbish}
    for line in rubbish:
        kept = letters[str(len(line))]
        assert line.startswith(kept)
        assert len(kept) >= min(len(line), limit - 1_500)
    assert seen.completed()["dead_letters"] == len(rubbish)


# --- too many dead letters ------------------------------------------------------------------------------------


def _with_dead_letters(count: int) -> bytes:
    """Good and bad lines in turns, each in about as many bytes as a block."""
    return b"".join(b'{"Id":"good-%d"}\nbad-%d\n' % (number, number) for number in range(count))


@pytest.mark.parametrize("transaction_bytes", [1, 1_000_000])
async def test_dead_letters_up_to_the_limit_are_set_aside_and_one_more_fails_the_export_and_stops_the_stream(
    kafka: Kafka, prefix: str, transaction_bytes: int
) -> None:
    limit = 3
    types = (EntityType.RESERVATION, EntityType.CUSTOMER)
    async with Simulator(INSTANT) as simulator:
        simulator.set_data(EntityType.RESERVATION, [_with_dead_letters(limit)])
        simulator.set_data(EntityType.CUSTOMER, [_with_dead_letters(limit), _with_dead_letters(1)])
        settings = settings_for(
            kafka.bootstrap_servers,
            prefix,
            simulator.url,
            *types,
            exports={"max_dead_letters": limit, "transaction_bytes": transaction_bytes},
        )
        async with running(settings) as replica:
            await replica.completed(EntityType.RESERVATION)
            row = await replica.phase("stopped", EntityType.CUSTOMER)
            assert "more than 3 lines" in row["error"]
            assert "file 1 line 2" in row["error"]
            await _until_metric(replica, 1.0)
            assert replica.row(EntityType.RESERVATION)["error"] is None
        seen = await see(kafka.bootstrap_servers, prefix)
        check_published(simulator, seen)

    assert seen.completed(EntityType.RESERVATION)["dead_letters"] == limit
    told = seen.events(EntityType.CUSTOMER)
    assert told[-1]["event"] == "export_failed"
    assert told[-1]["reason"] == row["error"]
    assert "export_completed" not in seen.told(EntityType.CUSTOMER)
    # What was published before stays, once each; the file that went too far left nothing of its last block.
    assert sorted(r.key or b"" for r in seen.entities(EntityType.CUSTOMER))[:3] == [b"good-0", b"good-1", b"good-2"]
    assert len(seen.dead_letters(EntityType.CUSTOMER)) == limit


async def test_with_no_dead_letter_allowed_the_first_one_stops_the_stream(kafka: Kafka, prefix: str) -> None:
    async with Simulator(INSTANT) as simulator:
        simulator.set_data(BAD, [b'{"Id":"a"}\nrubbish\n{"Id":"b"}\n'])
        settings = settings_for(kafka.bootstrap_servers, prefix, simulator.url, exports={"max_dead_letters": 0})
        async with running(settings) as replica:
            row = await replica.phase("stopped")
        assert "file 0 line 2: the line is not valid JSON" in row["error"]
    seen = see_now(kafka.bootstrap_servers, prefix)
    assert seen.told() == ["export_requested", "export_ready", "export_failed"]
    assert seen.dead_letters() == []


async def _until_metric(replica: RunningReplica, value: float) -> None:
    await replica.until(
        lambda: replica.metric("stream_stopped", EntityType.CUSTOMER) == value, f"streamer_stream_stopped is {value}"
    )
