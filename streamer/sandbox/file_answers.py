"""How a request for a file is answered: which bytes, which headers, and where trouble strikes."""

import re
from collections.abc import Iterable

import msgspec

from streamer.sandbox import faults

CHANGED_ETAG = '"0x8DCHANGED"'


class Strike(msgspec.Struct, frozen=True):
    """Trouble at a byte of the file."""

    at: int
    action: faults.Action


class FileAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    start: int
    stop: int
    content_length: int | None  # None: chunked
    gzip: bool
    strikes: list[Strike]  # in the order of the file
    bytes_per_second: float | None


def file_answer(
    size: int,
    etag: str | None,
    range_header: str | None,
    if_range: str | None,
    actions: Iterable[faults.Action],
) -> FileAnswer:
    actions = list(actions)
    gzip = any(isinstance(action, faults.Gzip) for action in actions)
    for action in actions:
        if isinstance(action, faults.NoEtag):
            etag = None
        elif isinstance(action, faults.ChangedEtag):
            etag = CHANGED_ETAG
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if etag is not None:
        headers["ETag"] = etag
    if gzip:
        headers["Content-Encoding"] = "gzip"
    part = None if if_range is not None and if_range != etag else asked_range(range_header, size)
    if gzip or any(isinstance(action, faults.IgnoreRange) for action in actions):
        part = None
    status, start, stop = 200, 0, size
    if part is not None:
        status, start, stop = _ranged(part, actions)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}" if status == 206 else f"bytes */{size}"
    stop, length = _length(start, stop, actions)
    strikes = [Strike(max(start, at), action) for action in actions if (at := strikes_at(action)) is not None]
    return FileAnswer(
        status=status,
        headers=headers,
        start=start,
        stop=stop,
        content_length=None if gzip else length,
        gzip=gzip,
        strikes=sorted((strike for strike in strikes if strike.at <= stop), key=lambda strike: strike.at),
        bytes_per_second=min((a.bytes_per_second for a in actions if isinstance(a, faults.Drip)), default=None),
    )


def _ranged(part: tuple[int, int], actions: Iterable[faults.Action]) -> tuple[int, int, int]:
    start, stop = part
    if start >= stop:
        return 416, 0, 0
    for action in actions:
        if isinstance(action, faults.WrongContentRange):
            start = min(max(start + action.by, 0), stop - 1)
    return 206, start, stop


def _length(start: int, stop: int, actions: Iterable[faults.Action]) -> tuple[int, int | None]:
    """Where the body ends, and its `Content-Length`."""
    for action in actions:
        if isinstance(action, faults.Short):
            stop = min(stop, max(start, action.at_byte))
            return stop, None if action.chunked else stop - start
    return stop, stop - start


def strikes_at(action: faults.Action) -> int | None:
    """The byte of the file at which an action strikes, if it strikes within the body."""
    match action:
        case (
            faults.Hold(at_byte=at)
            | faults.Cut(at_byte=at)
            | faults.Stall(at_byte=at)
            | faults.FailExport(at_byte=at)
            | faults.ExpireExport(at_byte=at)
        ):
            return at
        case _:
            return None


def asked_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes `[start, stop)` asked for; empty if there are none such, None if the whole file is meant.

    Several ranges at once, or what is no range, count as none: a server may answer them with the whole.
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return (max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None
    return (int(first), min(int(last) + 1, size) if last else size)
