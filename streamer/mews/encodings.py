"""Undoes the encoding of a body that nobody asked to be encoded, a bounded piece at a time.

aiohttp could do that as well, but not count: offsets are those of the file as it is without any encoding, and
a few hundred bytes of gzip can stand for a gigabyte, which must never lie in memory at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Protocol

from streamer.errors import DownloadBrokenError

PIECE_BYTES = 256 * 1024
"""The longest piece that is handed out at once."""

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_KNOWN = frozenset({"gzip", "x-gzip", "deflate"})


class Source(Protocol):
    """Bytes that come piece by piece."""

    async def read(self) -> bytes:
        """The next piece, ``b""`` at the end. Raises ``DownloadBrokenError``."""


def encoding(headers: Mapping[str, str]) -> str:
    """``Content-Encoding`` in lower case; empty where the body is as the file is."""
    text = headers.get("Content-Encoding", "").strip().lower()
    return "" if text == "identity" else text


class Decoded:
    """A ``Source`` without the encoding of another one."""

    def __init__(self, source: Source, *, encoding: str, name: str) -> None:
        """``name`` is the file's, for errors. Raises ``DownloadBrokenError`` for an encoding that isn't known
        here.
        """
        if encoding not in _KNOWN:
            raise DownloadBrokenError(f"{name}: sent with an encoding that was not asked for and is not known")
        self._source = source
        self._name = name
        self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._encoded = b""
        self._begun = False

    async def read(self) -> bytes:
        """The next piece, at most ``PIECE_BYTES`` long; ``b""`` at the end.

        Raises ``DownloadBrokenError`` where the source does, and where the body ends or contradicts itself
        half-way.
        """
        while True:
            if not self._encoded:
                self._encoded = await self._source.read()
                if not self._encoded:
                    return self._last()
                self._begun = True
            if self._decoder.eof:
                # Several gzip bodies one after another are one (RFC 1952, 2.2).
                self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
            piece = self._decode(self._encoded)
            self._encoded = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
            if piece:
                return piece

    def _last(self) -> bytes:
        """What the decoder still holds once the source is at its end."""
        if self._decoder.eof or not self._begun:
            return b""
        if piece := self._decode(b""):
            return piece
        raise DownloadBrokenError(f"{self._name}: the encoded body was cut short")

    def _decode(self, encoded: bytes) -> bytes:
        try:
            return self._decoder.decompress(encoded, PIECE_BYTES)
        except zlib.error:
            raise DownloadBrokenError(f"{self._name}: the encoded body can't be decoded") from None
