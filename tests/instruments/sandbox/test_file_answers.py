from streamer.sandbox.faults import (
    Action,
    ChangedEtag,
    Cut,
    Drip,
    Gzip,
    Hold,
    IgnoreRange,
    NoEtag,
    Short,
    Stall,
    WrongContentRange,
)
from streamer.sandbox.file_answers import FileAnswer, asked_range, file_answer
from tests.unit.cases import cases


def answer(*actions: Action, wanted: str | None = None, condition: str | None = None) -> FileAnswer:
    return file_answer(100, '"tag"', wanted, condition, actions)


@cases(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-", (0, 100)),
        ("bytes=40-", (40, 100)),
        ("bytes=40-49", (40, 50)),
        ("bytes=40-400", (40, 100)),
        ("bytes=-30", (70, 100)),
        ("bytes=-300", (0, 100)),
        ("bytes=100-", (100, 100)),
        ("bytes=5-4", None),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
        ("bytes=-", None),
    ],
)
def test_a_range_is_read_as_http_says(header: str | None, expected: tuple[int, int] | None) -> None:
    assert asked_range(header, 100) == expected


def test_the_whole_file_is_the_answer_to_a_plain_request() -> None:
    plain = answer()
    assert (plain.status, plain.start, plain.stop, plain.content_length) == (200, 0, 100, 100)
    assert plain.headers["ETag"] == '"tag"'
    assert "Content-Range" not in plain.headers


def test_a_range_is_answered_with_its_part() -> None:
    part = answer(wanted="bytes=40-49")
    assert (part.status, part.start, part.stop, part.content_length) == (206, 40, 50, 10)
    assert part.headers["Content-Range"] == "bytes 40-49/100"


def test_a_range_beyond_the_end_is_refused() -> None:
    beyond = answer(wanted="bytes=100-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */100")


def test_a_condition_that_does_not_hold_means_the_whole_file() -> None:
    assert answer(wanted="bytes=40-", condition='"tag"').status == 206
    assert answer(wanted="bytes=40-", condition='"old"').status == 200
    assert answer(NoEtag(), wanted="bytes=40-", condition='"tag"').status == 200
    assert answer(ChangedEtag(), wanted="bytes=40-", condition='"tag"').status == 200


def test_faults_of_headers_change_headers() -> None:
    assert "ETag" not in answer(NoEtag()).headers
    assert answer(ChangedEtag()).headers["ETag"] != '"tag"'
    assert answer(IgnoreRange(), wanted="bytes=40-").status == 200
    packed = answer(Gzip(), wanted="bytes=40-")
    assert (packed.status, packed.content_length, packed.headers["Content-Encoding"]) == (200, None, "gzip")
    wrong = answer(WrongContentRange(by=3), wanted="bytes=40-")
    assert (wrong.status, wrong.headers["Content-Range"]) == (206, "bytes 43-99/100")


@cases(("wanted", "length"), [(None, 60), ("bytes=40-", 20), ("bytes=80-", 0)])
def test_a_short_body_ends_at_a_byte_of_the_file(wanted: str | None, length: int) -> None:
    assert answer(Short(at_byte=60), wanted=wanted).content_length == length
    assert answer(Short(at_byte=60, chunked=True), wanted=wanted).content_length is None


def test_trouble_strikes_in_the_order_of_the_file_and_not_before_the_range() -> None:
    both = answer(Cut(at_byte=90), Hold(at_byte=10), wanted="bytes=40-")
    assert [(strike.at, strike.action) for strike in both.strikes] == [
        (40, Hold(at_byte=10)),
        (90, Cut(at_byte=90)),
    ]
    assert answer(Stall(at_byte=101)).strikes == []
    assert answer(Hold()).strikes == []
    assert answer(Drip(bytes_per_second=5)).bytes_per_second == 5
