"""Dead letters read back: what their headers say, and whether today's settings would still refuse the line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from streamer.core.records import Reason, why_no_record


class Letter(msgspec.Struct, frozen=True):
    """A dead letter as a consumer finds it.

    ``file`` counts from 0, ``line`` from 1, ``offset`` and ``length`` bytes. ``kept`` is how many bytes of the line
    there are; with a ``digest`` there are none.
    """

    ce_id: str
    stream: str
    at: datetime
    reason: str
    message: str
    export_id: str
    file: int
    offset: int
    line: int
    length: int
    kept: int
    digest: str
    partition: int
    record_offset: int


def letter_of(
    *, key: bytes, value: bytes, headers: Mapping[str, bytes], timestamp: int, partition: int, offset: int
) -> Letter:
    """What a record of the dead letters' topic says; ``timestamp`` in milliseconds since 1970."""
    said = {name: text.decode(errors="replace") for name, text in headers.items()}
    ce_id = said.get("ce_id", "")
    export_id, file, start = [*ce_id.split("/"), "", "", ""][:3]
    return Letter(
        ce_id=ce_id,
        stream=key.decode(errors="replace"),
        at=datetime.fromtimestamp(timestamp / 1000, UTC),
        reason=said.get("__connect.errors.exception.class.name", ""),
        message=said.get("__connect.errors.exception.message", ""),
        export_id=export_id,
        file=_number(file),
        offset=_number(start),
        line=_number(said.get("streamer.line", "")),
        length=_number(said.get("streamer.length", "")),
        kept=len(value),
        digest=said.get("streamer.digest", ""),
        partition=partition,
        record_offset=offset,
    )


def still_refused(letter: Letter, value: bytes, *, max_line_bytes: int) -> str:
    """Why the line would be refused again, in words; empty where it would become a record now."""
    if letter.digest or letter.kept < letter.length:
        return "not all of the line was kept"
    if letter.length > max_line_bytes:
        return Reason.LINE_TOO_LONG.message
    reason = why_no_record(value)
    # What it says with nothing else against a line; how much the topic takes is not known here.
    return "" if reason is Reason.RECORD_TOO_LARGE else reason.message


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
