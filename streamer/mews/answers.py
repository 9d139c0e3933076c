"""Decodes answers of the exports API, leniently: what streamer has no use for can't break it.

Exports are a restricted beta "subject to change" (operations/exports), and new fields are no breaking change
for Mews (deprecations-policy). So unknown fields are skipped, missing and null are the same, an unknown
status is kept as ``ExportStatus.UNKNOWN``, ``EntityType`` and ``Filters`` are only told, and files or an
``ExpiresUtc`` are welcome in any state. An export whose files can't be read counts as one of unknown status:
it is waited on, instead of being given up or hiding its neighbours in the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from streamer.errors import MewsUnavailableError
from streamer.logs import Scrubber
from streamer.model import Export, ExportFile, ExportId, ExportStatus, Link, Secret, Window

REASON_CHARACTERS = 300
"""What of a ``Message`` is kept: enough to see what Mews means, short enough for an event and a log line."""

_STATUSES = {status.value: status for status in ExportStatus if status is not ExportStatus.UNKNOWN}


class _File(msgspec.Struct, rename="pascal"):
    url: str
    size_in_bytes: int


_Files = list[_File] | None


class _Export(msgspec.Struct, rename="pascal"):
    id: str
    status: msgspec.Raw = msgspec.Raw(b"null")
    files: msgspec.Raw = msgspec.Raw(b"null")
    expires_utc: msgspec.Raw = msgspec.Raw(b"null")
    entity_type: msgspec.Raw = msgspec.Raw(b"null")
    filters: msgspec.Raw = msgspec.Raw(b"null")


class _Interval(msgspec.Struct, rename="pascal"):
    start_utc: datetime
    end_utc: datetime


class _Days(msgspec.Struct, rename="pascal"):
    start: date
    end: date


class _Posting(msgspec.Struct, rename="pascal"):
    posting: _Days


class _Filters(msgspec.Struct, rename="pascal"):
    updated_utc: _Interval | None = None
    ledger_entry_filters: _Posting | None = None


class _Added(msgspec.Struct, rename="pascal"):
    export: _Export


class _Listed(msgspec.Struct, rename="pascal"):
    exports: list[msgspec.Raw] | None = None


class _Refused(msgspec.Struct, rename="pascal"):
    message: str | None = None


def decode_added(body: bytes) -> Export:
    """The export that ``exports/add`` has accepted. Raises ``MewsUnavailableError`` where the body names
    none.
    """
    try:
        export = msgspec.json.decode(body, type=_Added).export
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Not the body itself, which may be anybody's page, nor msgspec's sentence, which may quote from it.
        raise MewsUnavailableError("the answer is no JSON that names an export") from None
    if not export.id:
        raise MewsUnavailableError("the answer names no export")
    return _to_export(export)


def decode_listed(body: bytes) -> dict[ExportId, Export]:
    """The exports that ``exports/getAll`` lists, without those that have no readable id.

    Raises ``MewsUnavailableError`` where the body is no JSON object.
    """
    try:
        listed = msgspec.json.decode(body, type=_Listed).exports or []
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MewsUnavailableError("the answer is no JSON that lists exports") from None
    return {export.id: export for export in _readable(listed)}


def decode_reason(body: bytes, *, secrets: Iterable[str] = ()) -> str | None:
    """The ``Message`` of a refusal on one line, at most ``REASON_CHARACTERS`` long; ``None`` if the body is
    no JSON object.

    It goes into events and checkpoints. So ``secrets`` are masked, should Mews repeat a token that it dislikes,
    however it writes it, and so are the queries of links.
    """
    try:
        message = msgspec.json.decode(body, type=_Refused).message or ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return _one_line(Scrubber(map(Secret, secrets))(message)) or "no message"


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= REASON_CHARACTERS else line[: REASON_CHARACTERS - 1] + "…"


def _readable(listed: Iterable[msgspec.Raw]) -> Iterable[Export]:
    for raw in listed:
        try:
            export = msgspec.json.decode(raw, type=_Export)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if export.id:
            yield _to_export(export)


def _to_export(export: _Export) -> Export:
    word = _word(export.status)
    status = _STATUSES.get(word, ExportStatus.UNKNOWN)
    files = _files(export.files)
    if files is None and status is ExportStatus.SUCCESS:
        status, word = ExportStatus.UNKNOWN, f"{word}, with unreadable files"
    return Export(
        id=ExportId(export.id),
        status=status,
        files=files or (),
        expires_at=_time(export.expires_utc),
        raw_status=word if status is ExportStatus.UNKNOWN else "",
        entity_type=_text(export.entity_type),
        window=_window(export.filters),
    )


def _word(raw: msgspec.Raw) -> str:
    return _one_line(_text(raw)) or "no status"


def _text(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _window(raw: msgspec.Raw) -> Window | None:
    try:
        filters = msgspec.json.decode(raw, type=_Filters | None)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if filters is None:
        return None
    if (updated := filters.updated_utc) is not None:
        return Window(_in_utc(updated.start_utc), _in_utc(updated.end_utc))
    if (ledger := filters.ledger_entry_filters) is not None:
        # Both dates are part of it; a window ends before its end.
        return Window(_midnight(ledger.posting.start), _midnight(ledger.posting.end) + timedelta(days=1))
    return None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _files(raw: msgspec.Raw) -> tuple[ExportFile, ...] | None:
    """The files in Mews' order, none for ``null``; ``None`` where they can't be read."""
    try:
        files = msgspec.json.decode(raw, type=_Files) or []
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if any(not file.url or file.size_in_bytes < 0 for file in files):
        return None
    return tuple(ExportFile(Link(file.url), file.size_in_bytes) for file in files)


def _time(raw: msgspec.Raw) -> datetime | None:
    try:
        moment = msgspec.json.decode(raw, type=datetime)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return _in_utc(moment)


def _in_utc(moment: datetime) -> datetime:
    # All times of the API are UTC (guidelines/serialization), with a Z or without.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
