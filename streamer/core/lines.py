r"""Cut the bytes of one file into lines, over whatever chunks they arrive in.

What a newcomer would get wrong:

* Only ``\n`` ends a line. U+2028, form feeds and their like are legal inside JSON strings, so ``splitlines``
  is not.
* A line's offset counts from the file's first byte, byte order mark and line endings included, because a
  checkpoint made of it must be good for an HTTP ``Range``.
* Lines come in runs that share what is true of all of them. A run costs a few microseconds and a line almost
  nothing, so chunks of 64 to 256 KiB are the fastest: larger ones fall out of the CPU's cache.
* ``BytesIO`` looks for a newline as C's ``memchr`` does, ``bytes.split`` byte by byte: it takes half the time for lines
  of 1.4 kB, although it leaves the newlines in.
* An endless line costs no memory: all that is kept of it are its first ``max_line_bytes`` and its length.
"""

from __future__ import annotations

import codecs
from io import BytesIO
from typing import Final

import msgspec


class Lines(msgspec.Struct, frozen=True):
    r"""A run of adjacent lines, none longer than the limit, each without its ``\n``.

    ``offset`` (bytes) and ``line`` (number, from 1) are those of the first; the next one starts one byte (the
    ``\n``) after this one's last. Where ``is_utf8`` is false, at least one of the lines is no UTF-8; where
    ``has_returns`` is false, no line ends in ``\r``, otherwise each must be looked at.
    """

    raw: list[bytes]
    offset: int
    line: int
    is_utf8: bool
    has_returns: bool


class LongLine(msgspec.Struct, frozen=True):
    """A line over the limit: its first ``max_line_bytes``, and its full ``length`` without line ending."""

    head: bytes
    length: int
    offset: int
    line: int


class LineCutter:
    r"""Takes a file's chunks in order and hands back the lines that each one completes.

    ``offset`` and ``line`` tell where the next line starts (bytes from the file's start) and how many lines
    lie before it; they begin as given, so that a cutter can start at any line in mid-file. A line ending
    (``\n`` or ``\r\n``) does not count towards ``max_line_bytes``.
    """

    def __init__(self, *, offset: int, line: int, max_line_bytes: int) -> None:
        self.offset = offset
        self.line = line
        self._limit = max_line_bytes
        self._unfinished = bytearray()
        self._unfinished_length = 0
        self._unfinished_return = False
        self._mark: bytes | None = b"" if offset == 0 else None

    def feed(self, chunk: bytes) -> list[Lines | LongLine]:
        """The lines that end within ``chunk``, in file order; an empty chunk completes none."""
        if self._mark is not None:
            chunk = self._skip_mark(self._mark + chunk)
        lines = BytesIO(chunk).readlines()
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        runs: list[Lines | LongLine] = []
        begin = 0
        if lines and self._unfinished_length:
            first = lines.pop(0)
            begin = len(first)
            self._keep(first[:-1])
            runs.append(self._end_line(newline=1))
        if lines:
            # A slice of a memoryview copies nothing, so even a chunk that must be decoded is cheap.
            end = len(chunk) - len(rest)
            is_utf8 = chunk.isascii() or _is_utf8(memoryview(chunk)[begin:end])
            runs += self._cut([line[:-1] for line in lines], end - begin, is_utf8=is_utf8, has_returns=b"\r" in chunk)
        self._keep(rest)
        return runs

    def finish(self) -> list[Lines | LongLine]:
        """The last line, where the file does not end in a newline. Nothing may be fed afterwards."""
        if self._mark:
            self._keep(self._mark)
        self._mark = None
        return [self._end_line(newline=0)] if self._unfinished_length else []

    def _skip_mark(self, start: bytes) -> bytes:
        """What follows the byte order mark, given all of the file so far; nothing while that is undecided."""
        if len(start) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(start):
            self._mark = start
            return b""
        self._mark = None
        if start.startswith(codecs.BOM_UTF8):
            self.offset = len(codecs.BOM_UTF8)
            return start[len(codecs.BOM_UTF8) :]
        return start

    def _cut(self, lines: list[bytes], length: int, *, is_utf8: bool, has_returns: bool) -> list[Lines | LongLine]:
        """Lines wholly within a chunk, ``length`` bytes with newlines: one run, unless some are too long."""
        if length > self._limit and max(map(len, lines)) > self._limit:
            runs = []
            for line in lines:
                self._keep(line)
                runs.append(self._end_line(newline=1))
            return runs
        run = Lines(lines, self.offset, self.line + 1, is_utf8, has_returns)
        self.offset += length
        self.line += len(lines)
        return [run]

    def _keep(self, piece: bytes) -> None:
        if not piece:
            return
        # One byte over the limit is kept, because it may turn out to be the "\r" of the line ending.
        self._unfinished += piece[: max(0, self._limit + 1 - len(self._unfinished))]
        self._unfinished_length += len(piece)
        self._unfinished_return = piece.endswith(b"\r")

    def _end_line(self, *, newline: int) -> Lines | LongLine:
        """The kept pieces as one line; ``newline`` is how many bytes of ``\\n`` follow it, 0 or 1."""
        length = self._unfinished_length - self._unfinished_return
        kept = bytes(self._unfinished)
        self.line += 1
        run: Lines | LongLine
        if length > self._limit:
            run = LongLine(kept[: self._limit], length, self.offset, self.line)
        else:
            run = Lines([kept], self.offset, self.line, _is_utf8(kept), self._unfinished_return)
        self.offset += self._unfinished_length + newline
        self._unfinished = bytearray()
        self._unfinished_length = 0
        self._unfinished_return = False
        return run


JSON_BLANK: Final = b" \t\r"
r"""What JSON calls whitespace, less the ``\n`` that no line has; ``bytes.isspace`` counts more."""


def is_blank(line: bytes) -> bool:
    """Whether there is nothing but JSON whitespace in the line."""
    return not line.strip(JSON_BLANK)


def is_utf8(line: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    return line.isascii() or _is_utf8(line)


def _is_utf8(data: bytes | memoryview) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
