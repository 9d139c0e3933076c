"""Reads the few response headers that streamer acts on; whatever can't be read is as good as missing.

A date in ``Retry-After`` is counted from the ``Date`` of the same answer, so that a wrong clock on this
machine makes no difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from streamer.core.backoff import parse_retry_after

_SATISFIED = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
# Within ASCII, because it goes out again in a header and in a checkpoint.
_STRONG_ETAG = re.compile(r'"[!#-~]{1,200}"')
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,18})")


class ContentRange(msgspec.Struct, frozen=True):
    """Which bytes of a file an answer holds (RFC 9110, 14.4).

    ``start`` is the first of them, ``None`` where the server could not satisfy the range; ``length`` is the
    whole file's, ``None`` where the server does not say.
    """

    start: int | None
    length: int | None


def content_range(headers: Mapping[str, str]) -> ContentRange | None:
    """What ``Content-Range`` says, ``None`` where it is missing or makes no sense."""
    text = headers.get("Content-Range", "").strip()
    if match := _SATISFIED.fullmatch(text):
        first, last = int(match[1]), int(match[2])
        length = None if match[3] == "*" else int(match[3])
        if first > last or (length is not None and last >= length):
            return None
        return ContentRange(first, length)
    if match := _UNSATISFIED.fullmatch(text):
        return ContentRange(None, int(match[1]))
    return None


def server_date(headers: Mapping[str, str]) -> datetime | None:
    """``Date`` as an aware time in UTC, to the second."""
    try:
        date = parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The least wait in seconds that ``Retry-After`` asks for, given there as seconds or as a date."""
    text = headers.get("Retry-After", "").strip()
    now = server_date(headers)
    if now is None and not text[:1].isdigit():
        return None
    return parse_retry_after(text, now=now or datetime.max.replace(tzinfo=UTC))


def request_id(headers: Mapping[str, str]) -> str:
    """Mews' name for this request, which its support asks for (guidelines/responses); ``-`` where there is
    none.
    """
    text = headers.get("Request-Id", "")[:64]
    return text if text and text.isprintable() else "-"


def strong_etag(headers: Mapping[str, str]) -> str | None:
    """``ETag``, where it vouches for every byte. A weak one (``W/``) does not: as good as missing."""
    text = headers.get("ETag", "").strip()
    return text if _STRONG_ETAG.fullmatch(text) else None
