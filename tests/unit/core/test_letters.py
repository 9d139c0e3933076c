"""A dead letter read back says what was written, and whether its line would be refused again."""

from __future__ import annotations

from datetime import UTC, datetime

from streamer.core.letters import Letter, letter_of, still_refused
from streamer.core.records import Origin, Reason
from streamer.model import ConnectionName, EntityType, ExportId, StreamKey
from tests.unit.cases import cases

STREAM = StreamKey(ConnectionName("alpine"), EntityType.BILL)


def letter(value: bytes, reason: Reason = Reason.NO_ID, *, length: int | None = None, digest: str = "") -> Letter:
    origin = Origin(export_id=ExportId("e1"), stream=STREAM, file_index=2, headers=True, max_record_bytes=1_000_000)
    headers = origin.dead_letter_headers(
        reason, line=7, offset=99, length=len(value) if length is None else length, digest=digest
    )
    key = str(STREAM).encode()
    return letter_of(key=key, value=value, headers=dict(headers), timestamp=1500, partition=3, offset=5)


def test_what_was_written_is_read_back() -> None:
    assert letter(b"{}") == Letter(
        ce_id="e1/2/99",
        stream="alpine/Bill",
        at=datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC),
        reason="no_id",
        message="the line is no JSON object with an Id",
        export_id="e1",
        file=2,
        offset=99,
        line=7,
        length=2,
        kept=2,
        digest="",
        partition=3,
        record_offset=5,
    )


def test_one_without_headers_is_read_all_the_same() -> None:
    read = letter_of(key=b"alpine/Bill", value=b"x", headers={}, timestamp=0, partition=0, offset=0)
    assert (read.ce_id, read.reason, read.file, read.length) == ("", "", 0, 0)


@cases(
    ("read", "value", "expected"),
    [
        (letter(b"{}"), b"{}", Reason.NO_ID.message),
        (letter(b'{"Id":"a"}', Reason.UNEXPECTED_SHAPE), b'{"Id":"a"}', ""),
        (letter(b'{"Id":"a"}', Reason.LINE_TOO_LONG), b'{"Id":"a"}', ""),
        (letter(b'{"Id":"a"}' + b" " * 90, Reason.LINE_TOO_LONG), b"", Reason.LINE_TOO_LONG.message),
        (letter(b'{"Id"', Reason.LINE_TOO_LONG, length=10), b'{"Id"', "not all of the line was kept"),
        (letter(b"", digest="0f", length=10), b"", "not all of the line was kept"),
    ],
)
def test_whether_the_line_would_be_refused_again(read: Letter, value: bytes, expected: str) -> None:
    assert still_refused(read, value, max_line_bytes=50) == expected
