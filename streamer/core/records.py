"""Say what becomes of a line: the key of its record or the reason why it has none, and the headers of either.

What a newcomer would get wrong:

* Finding the ``Id`` with msgspec proves the whole line to be well-formed JSON, but not to be UTF-8: bytes of
  strings that it skips are not looked at. ``is_utf8`` in ``lines`` does that, once for many lines.
* Of several ``Id``s in one object the last one counts, as in nearly every JSON parser.
* A lone surrogate written as an escape (``"\\ud800"``) is JSON by its grammar and text by no encoding. The
  parser refuses it anywhere in a line, so such a line counts as bad JSON.
* Of the headers of records only the offset in ``ce_id`` differs, so all else of them is encoded once for each file.
"""

from __future__ import annotations

import enum
from typing import Final, Self

import msgspec

from streamer.core.lines import is_utf8
from streamer.core.record_format import NO_HEADERS, EncodedHeaders, encode_headers
from streamer.model import ExportId, StreamKey

Header = tuple[str, bytes]

RECORD_OVERHEAD: Final = 256
"""Bytes that a record may weigh on top of key, value and headers when it travels alone in a batch.

A batch begins with 61 bytes; length, attributes, timestamp, offset and counts of a record take at most 36;
what zstd adds to bytes that it can't compress stays below 100 for the largest lines allowed.
"""

HEADER_OVERHEAD: Final = 10
"""Bytes that a header may weigh on top of name and value: two lengths of at most five bytes each."""

_LARGEST: Final = 2**63 - 1  # no offset, length or number takes more digits


class Identified(msgspec.Struct, frozen=True, gc=False):
    """The one thing that publishing must know of an entity."""

    id: str = msgspec.field(name="Id")


class _PerhapsIdentified(msgspec.Struct, frozen=True):
    id: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="Id", default=msgspec.UNSET)


identify = msgspec.json.Decoder(Identified).decode
"""The ``Id`` of a line; raises one of ``UNREADABLE`` where there is none to be had."""

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeError)
"""What ``identify(line).id.encode()`` raises for lines that can't become records."""

_check_json = msgspec.json.Decoder(msgspec.Raw).decode
_look_for_id = msgspec.json.Decoder(_PerhapsIdentified).decode


class Reason(enum.StrEnum):
    """Why a line can never become a record. The word is for machines and stays; the message is for people.

    ``stage`` tells what failed, in the words of Kafka Connect, so that whatever already reads the dead
    letters of connectors can group these too.
    """

    message: str
    stage: str

    def __new__(cls, word: str, stage: str, message: str) -> Self:
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.stage = stage
        reason.message = message
        return reason

    BAD_UTF8 = "bad_utf8", "VALUE_CONVERTER", "the line is not valid UTF-8"
    BAD_JSON = "bad_json", "VALUE_CONVERTER", "the line is not valid JSON"
    TOO_DEEP = "too_deep", "VALUE_CONVERTER", "the line nests arrays and objects too deeply"
    LINE_TOO_LONG = "line_too_long", "VALUE_CONVERTER", "the line is longer than exports.max_line_bytes"
    NO_ID = "no_id", "KEY_CONVERTER", "the line is no JSON object with an Id"
    NULL_ID = "null_id", "KEY_CONVERTER", "the Id is null"
    ID_NOT_TEXT = "id_not_text", "KEY_CONVERTER", "the Id is no string"
    EMPTY_ID = "empty_id", "KEY_CONVERTER", "the Id is an empty string"
    UNEXPECTED_SHAPE = "unexpected_shape", "VALUE_CONVERTER", "a field is not as the schema of its entity type says"
    RECORD_TOO_LARGE = "record_too_large", "KAFKA_PRODUCE", "the record is larger than its topic accepts"


def why_no_record(line: bytes) -> Reason:
    """Why a line that isn't blank can't be published; with nothing else against it, it must be too large."""
    if not is_utf8(line):
        return Reason.BAD_UTF8
    try:
        _check_json(line)
        return Reason.RECORD_TOO_LARGE if identify(line).id.encode() else Reason.EMPTY_ID
    except RecursionError:
        return Reason.TOO_DEEP
    except UnicodeError:
        return Reason.BAD_UTF8
    except msgspec.ValidationError:
        return _what_is_wrong_with_the_id(line)
    except msgspec.DecodeError:
        return Reason.BAD_JSON


def _what_is_wrong_with_the_id(line: bytes) -> Reason:
    try:
        found = _look_for_id(line).id
    except msgspec.ValidationError:  # JSON, but no object
        return Reason.NO_ID
    if isinstance(found, msgspec.UnsetType):
        return Reason.NO_ID
    return Reason.NULL_ID if bytes(found) == b"null" else Reason.ID_NOT_TEXT


class Origin:
    """One file of an export of a stream, as the headers of whatever comes out of it tell it.

    With ``headers`` false the records have none at all. Dead letters keep theirs all the same: their reason
    and position are written nowhere else, and the setting is there to save bytes by the million, which they
    are not.

    ``record_room`` is how many bytes key and value of a record may have together, ``dead_letter_room`` how many
    the value of a dead letter may have, so that neither weighs more than ``max_record_bytes``. That number is the
    ``max.message.bytes`` of the entity's topic; where the topic of the dead letters accepts less, whoever
    publishes must cut them further.
    """

    def __init__(
        self, *, export_id: ExportId, stream: StreamKey, file_index: int, headers: bool, max_record_bytes: int
    ) -> None:
        self._stream = stream
        self._prefix = f"{export_id}/{file_index}/".encode()
        self._has_headers = headers
        self._source: Header = ("ce_source", stream.source.encode())
        self._type: Header = ("ce_type", f"com.mews.{stream.entity_type.value}".encode())
        room = max_record_bytes - RECORD_OVERHEAD
        self.record_room = max(0, room - size_of(self.record_headers(_LARGEST)))
        self._around = [self._around_offset(digits) for digits in range(1, len(str(_LARGEST)) + 1)]
        largest = max(
            size_of(self.dead_letter_headers(reason, line=_LARGEST, offset=_LARGEST, length=_LARGEST))
            for reason in Reason
        )
        self.dead_letter_room = max(0, room - len(str(stream)) - largest)

    @property
    def headers_less_offset(self) -> list[Header]:
        """Headers of every record, but that the value of ``ce_id`` still lacks the line's offset at its end."""
        if not self._has_headers:
            return []
        return [_SPECVERSION, ("ce_id", self._prefix), self._source, self._type, _JSON]

    def record_headers(self, offset: int) -> list[Header]:
        """Headers of the record whose line starts at this byte of the file."""
        if not self._has_headers:
            return []
        return [_SPECVERSION, ("ce_id", self._prefix + b"%d" % offset), self._source, self._type, _JSON]

    def encoded_headers(self, offset: int) -> EncodedHeaders:
        """``record_headers`` as they are in the record: in the hottest loop, so put together of three pieces."""
        if not self._has_headers:
            return NO_HEADERS
        digits = b"%d" % offset
        before, after = self._around[len(digits) - 1]
        return before + digits + after

    def _around_offset(self, digits: int) -> tuple[bytes, bytes]:
        """What is in front of an offset of so many digits, and what is behind it."""
        offset = b"1" * digits
        before, _, after = encode_headers(self.record_headers(int(offset))).partition(self._prefix + offset)
        return before + self._prefix, after

    def dead_letter_headers(
        self, reason: Reason, *, line: int, offset: int, length: int, digest: str = ""
    ) -> list[Header]:
        """Headers of a dead letter: line number from 1; offset and length (without line ending) in bytes.

        ``digest`` is that of a line that is not kept itself.
        """
        return [
            _SPECVERSION,
            ("ce_id", self._prefix + b"%d" % offset),
            self._source,
            ("ce_type", b"streamer.dead_letter"),
            ("content-type", b"application/octet-stream"),
            ("__connect.errors.exception.class.name", reason.value.encode()),
            ("__connect.errors.exception.message", reason.message.encode()),
            ("__connect.errors.stage", reason.stage.encode()),
            ("streamer.entity.type", self._stream.entity_type.value.encode()),
            ("streamer.line", b"%d" % line),
            ("streamer.length", b"%d" % length),
            *([("streamer.digest", digest.encode())] if digest else []),
        ]


def tombstone_headers(*, cause: str, stream: StreamKey, key: bytes, headers: bool) -> list[Header]:
    """Headers of the record that says that the entity of this key is gone, as its ``cause`` has it.

    That is the id of the snapshot that has shown it, or that of a retirement or an erasure (``core.retiring``,
    ``core.erasing``).
    """
    if not headers:
        return []
    return [
        _SPECVERSION,
        ("ce_id", f"{cause}/gone/".encode() + key),
        ("ce_source", stream.source.encode()),
        ("ce_type", f"com.mews.{stream.entity_type.value}".encode()),
    ]


def replay_headers(headers: list[Header], signal: int) -> list[Header]:
    """Headers of the record of a replayed dead letter, from what they would have been in its export.

    Whoever drops repeats by the order of ``ce_id`` would drop it too: it comes out of that order. The one more header
    says so, with the offset of the signal that wanted it.
    """
    return [*headers, ("streamer.replay", b"%d" % signal)] if headers else []


def size_of(headers: list[Header]) -> int:
    """The most bytes that these headers take in a record."""
    return sum(len(name) + len(value) + HEADER_OVERHEAD for name, value in headers)


_SPECVERSION: Final[Header] = ("ce_specversion", b"1.0")
_JSON: Final[Header] = ("content-type", b"application/json")
