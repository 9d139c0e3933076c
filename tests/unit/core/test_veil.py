"""Dropped fields are gone, hashed ones can be joined and not undone, and everything else keeps its bytes."""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from streamer.core.veil import Veil
from tests.unit.cases import cases

KEY = b"key-canary"


def hashed(text: str, key: bytes = KEY) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def test_values_that_nobody_named_keep_their_bytes() -> None:
    line = b'{ "Id" : "a",  "Value" : 1.50e1, "Big":123456789012345678901234567890.10,"Text":"\\u0041 \xc3\xa9","N":1}'
    expected = b'{"Id":"a","Value":1.50e1,"Big":123456789012345678901234567890.10,"Text":"\\u0041 \xc3\xa9"}'
    assert Veil(dropped=["N"])(line) == expected


def test_a_dropped_field_is_gone_and_the_rest_keeps_its_order() -> None:
    veiled = Veil(dropped=["B", "Unknown"])(b'{"C":1,"B":{"x":[1,2]},"A":null}')
    assert veiled == b'{"C":1,"A":null}'


def test_a_field_that_occurs_twice_is_written_once() -> None:
    assert Veil(dropped=["B"])(b'{"A":1,"B":2,"A":3,"B":4}') == b'{"A":3}'


def test_a_hash_is_that_of_the_text_whatever_the_field_and_the_escapes() -> None:
    veil = Veil(hashed=["Email", "Login"], key=KEY)
    veiled = msgspec.json.decode(veil('{"Id":"a","Email":"š@example.test","Login":"\\u0161@example.test"}'.encode()))
    assert veiled["Email"] == veiled["Login"] == hashed("š@example.test")


@cases(
    ("value", "text"),
    [
        (b'{"b": 1, "a": [true, null]}', '{"a":[true,null],"b":1}'),
        (b"17", "17"),
        (b'""', ""),
    ],
)
def test_whatever_is_no_text_is_hashed_as_json(value: bytes, text: str) -> None:
    assert Veil(hashed=["F"], key=KEY)(b'{"F": %b}' % value) == b'{"F":"%b"}' % hashed(text).encode()


def test_null_stays_null() -> None:
    assert Veil(hashed=["F"], key=KEY)(b'{"F": null}') == b'{"F":null}'


def test_another_key_makes_other_hashes() -> None:
    line = b'{"F":"x"}'
    assert Veil(hashed=["F"], key=KEY)(line) != Veil(hashed=["F"], key=b"other")(line)
    assert Veil(key=KEY).digest(line) != Veil(key=b"other").digest(line)


def test_the_same_line_always_becomes_the_same_bytes() -> None:
    veil = Veil(dropped=["B"], hashed=["F"], key=KEY)
    once = veil(b'{"A":1,"B":2,"F":null}')
    assert veil(once) == once
