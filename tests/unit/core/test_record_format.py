"""Numbers and headers as they are in a record: held against aiokafka's own writing of them."""

from __future__ import annotations

from aiokafka.record.util import encode_varint

from streamer.core.record_format import NO_HEADERS, NULL, VARINTS, encode_headers, varint
from tests.unit.cases import cases


def written_by_aiokafka(number: int) -> bytes:
    written = bytearray()
    encode_varint(number, written.append)
    return bytes(written)


@cases("number", [0, 1, 63, 64, 8191, 8192, 2**20, 2**20 - 1, 2**27, 2**31 - 1])
def test_a_number_has_its_sign_in_its_lowest_bit(number: int) -> None:
    assert varint(number) == written_by_aiokafka(number)


def test_short_ones_are_looked_up() -> None:
    assert list(VARINTS) == [written_by_aiokafka(number) for number in range(len(VARINTS))]
    assert {len(encoded) for encoded in VARINTS} == {1, 2}


def test_nothing_has_the_length_of_minus_one() -> None:
    assert written_by_aiokafka(-1) == NULL


def test_headers_keep_their_order_and_may_repeat() -> None:
    headers = [("b", b"1"), ("a", b""), ("b", b"\xff")]
    assert encode_headers(headers) == b"\6" + b"\2b\2" + b"1" + b"\2a\0" + b"\2b\2" + b"\xff"


def test_there_may_be_many_and_long_ones_and_none() -> None:
    many = [("é" * 40, b"x" * 70)] * 100
    one = varint(80) + ("é" * 40).encode() + varint(70) + b"x" * 70
    assert encode_headers(many) == varint(100) + one * 100
    assert encode_headers([]) == NO_HEADERS == b"\0"
