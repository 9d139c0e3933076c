"""A line becomes a record or has a reason not to; headers are those that consumers rely on."""

import pytest

from streamer.core.record_format import encode_headers
from streamer.core.records import (
    HEADER_OVERHEAD,
    RECORD_OVERHEAD,
    UNREADABLE,
    Origin,
    Reason,
    identify,
    size_of,
    tombstone_headers,
    why_no_record,
)
from streamer.model import ConnectionName, EntityType, ExportId, StreamKey
from tests.unit.cases import cases
from tests.unit.core.gathered import headers_in

EXPORT = ExportId("0a6ef5b2-1a9c-4f0c-9a9e-1f2d3c4b5a69")
STREAM = StreamKey(ConnectionName("alpine"), EntityType.ORDER_ITEM)


def origin(*, headers: bool = True, max_record_bytes: int = 10_000) -> Origin:
    return Origin(export_id=EXPORT, stream=STREAM, file_index=7, headers=headers, max_record_bytes=max_record_bytes)


@cases(
    ("line", "key"),
    [
        (b'{"Id":"a"}', "a"),
        (b' {"x":[{"Id":1}],"Id":"deep down"} \r', "deep down"),
        (b'{"\\u0049d":"escaped name"}', "escaped name"),
        (b'{"Id":"\\u010d\\ud83d\\ude00"}', "č😀"),
        ('{"Id":"čšř\u2028"}'.encode(), "čšř\u2028"),
        (b'{"Id":"a","Id":"the last one counts"}', "the last one counts"),
    ],
)
def test_the_key_is_the_id_wherever_and_however_it_is_written(line: bytes, key: str) -> None:
    assert identify(line).id == key


@cases(
    ("line", "reason"),
    [
        (b'{"Id":"a"', Reason.BAD_JSON),
        (b'{"Id":"a"}}', Reason.BAD_JSON),
        (b'{"Id":"a"}{"Id":"b"}', Reason.BAD_JSON),
        (b'{"Id":"a",}', Reason.BAD_JSON),
        (b"{'Id':'a'}", Reason.BAD_JSON),
        (b'{"Id":"a","x":NaN}', Reason.BAD_JSON),
        (b'{"Id":"a","x":01}', Reason.BAD_JSON),
        (b'{"Id":"a","x":"\\q"}', Reason.BAD_JSON),
        (b'{"Id":"a","x":"\t"}', Reason.BAD_JSON),
        (b'{"Id":"a"}\x0c', Reason.BAD_JSON),
        (b'{"Id":null,', Reason.BAD_JSON),
        (b'{"Id":5} 6', Reason.BAD_JSON),
        (b'\xef\xbb\xbf{"Id":"a"}', Reason.BAD_JSON),
        (b"<html>", Reason.BAD_JSON),
        (b"\0", Reason.BAD_JSON),
        (b'{"Id":"\\ud800"}', Reason.BAD_JSON),
        (b'{"Id":"a","x":"\\ud800"}', Reason.BAD_JSON),
        (b"{}", Reason.NO_ID),
        (b'{"id":"a","ID":"b"," Id":"c"}', Reason.NO_ID),
        (b'{"x":{"Id":"a"}}', Reason.NO_ID),
        (b'[{"Id":"a"}]', Reason.NO_ID),
        (b'"Id"', Reason.NO_ID),
        (b"null", Reason.NO_ID),
        (b'{"Id":null}', Reason.NULL_ID),
        (b'{"Id": null ,"x":1}', Reason.NULL_ID),
        (b'{"Id":5}', Reason.ID_NOT_TEXT),
        (b'{"Id":true}', Reason.ID_NOT_TEXT),
        (b'{"Id":{"Id":"a"}}', Reason.ID_NOT_TEXT),
        (b'{"Id":["a"]}', Reason.ID_NOT_TEXT),
        (b'{"Id":1,"Id":"a"}', Reason.ID_NOT_TEXT),
        (b'{"Id":""}', Reason.EMPTY_ID),
        (b'{"Id":"\xff"}', Reason.BAD_UTF8),
        (b'{"Id":"a","x":"\xc3"}', Reason.BAD_UTF8),
        (b'{"Id":"\xed\xa0\x80"}', Reason.BAD_UTF8),
        (b'{"Id":"a","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", Reason.TOO_DEEP),
        (b'{"x":' * 50_000 + b"1" + b"}" * 50_000, Reason.TOO_DEEP),
        (b'{"Id":"a"}', Reason.RECORD_TOO_LARGE),
    ],
)
def test_every_unfit_line_has_its_reason(line: bytes, reason: Reason) -> None:
    assert why_no_record(line) is reason


@cases("line", [b"", b'{"Id":"a"', b"{}", b'{"Id":"\xff"}', b'{"Id":"\\ud800"}', b"[" * 99_999])
def test_what_can_not_be_read_raises_nothing_unforeseen(line: bytes) -> None:
    with pytest.raises(UNREADABLE):
        identify(line)


def test_the_words_of_the_reasons_stay() -> None:
    assert {str(reason): reason.stage for reason in Reason} == {
        "bad_utf8": "VALUE_CONVERTER",
        "bad_json": "VALUE_CONVERTER",
        "too_deep": "VALUE_CONVERTER",
        "line_too_long": "VALUE_CONVERTER",
        "no_id": "KEY_CONVERTER",
        "null_id": "KEY_CONVERTER",
        "id_not_text": "KEY_CONVERTER",
        "empty_id": "KEY_CONVERTER",
        "unexpected_shape": "VALUE_CONVERTER",
        "record_too_large": "KAFKA_PRODUCE",
    }
    assert all(reason.message for reason in Reason)


def test_a_record_says_where_it_comes_from() -> None:
    assert origin().record_headers(1234) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"0a6ef5b2-1a9c-4f0c-9a9e-1f2d3c4b5a69/7/1234"),
        ("ce_source", b"/mews/alpine"),
        ("ce_type", b"com.mews.OrderItem"),
        ("content-type", b"application/json"),
    ]


@cases("offset", [0, 1, 9, 10, 1234, 999_999, 10**6, 10**17, 2**63 - 1])
def test_encoded_headers_are_the_headers_encoded(offset: int) -> None:
    assert origin().encoded_headers(offset) == encode_headers(origin().record_headers(offset))
    assert headers_in(origin().encoded_headers(offset)) == origin().record_headers(offset)
    assert origin(headers=False).encoded_headers(offset) == encode_headers([])


def test_records_can_do_without_headers_and_dead_letters_can_not() -> None:
    plain = origin(headers=False)
    assert plain.record_headers(1) == []
    assert plain.dead_letter_headers(Reason.NO_ID, line=1, offset=2, length=3) == (
        origin().dead_letter_headers(Reason.NO_ID, line=1, offset=2, length=3)
    )


def test_a_dead_letter_says_what_is_wrong_and_where() -> None:
    assert origin().dead_letter_headers(Reason.BAD_JSON, line=3, offset=1234, length=56) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"0a6ef5b2-1a9c-4f0c-9a9e-1f2d3c4b5a69/7/1234"),
        ("ce_source", b"/mews/alpine"),
        ("ce_type", b"streamer.dead_letter"),
        ("content-type", b"application/octet-stream"),
        ("__connect.errors.exception.class.name", b"bad_json"),
        ("__connect.errors.exception.message", b"the line is not valid JSON"),
        ("__connect.errors.stage", b"VALUE_CONVERTER"),
        ("streamer.entity.type", b"OrderItem"),
        ("streamer.line", b"3"),
        ("streamer.length", b"56"),
    ]


def test_a_tombstone_has_an_identity_and_no_content_type() -> None:
    key = "Jiří".encode()
    assert tombstone_headers(cause=EXPORT, stream=STREAM, key=key, headers=True) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"0a6ef5b2-1a9c-4f0c-9a9e-1f2d3c4b5a69/gone/" + key),
        ("ce_source", b"/mews/alpine"),
        ("ce_type", b"com.mews.OrderItem"),
    ]
    assert tombstone_headers(cause=EXPORT, stream=STREAM, key=key, headers=False) == []


def test_room_is_what_headers_and_framing_leave() -> None:
    assert origin(headers=False).record_room == 10_000 - RECORD_OVERHEAD
    headers = origin().record_headers(2**63 - 1)
    assert origin().record_room == 10_000 - RECORD_OVERHEAD - size_of(headers)
    assert size_of([("ab", b"cde"), ("", b"")]) == 5 + 2 * HEADER_OVERHEAD


def test_there_is_room_for_any_dead_letter() -> None:
    for reason in Reason:
        headers = origin().dead_letter_headers(reason, line=2**63 - 1, offset=2**63 - 1, length=2**63 - 1)
        assert origin().dead_letter_room + len(str(STREAM)) + size_of(headers) + RECORD_OVERHEAD <= 10_000


def test_a_topic_too_small_for_headers_has_no_room() -> None:
    tiny = origin(max_record_bytes=10)
    assert (tiny.record_room, tiny.dead_letter_room) == (0, 0)
