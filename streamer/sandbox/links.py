"""Signed links to files: valid for a while, and only as they were handed out, byte for byte.

A signature always holds `%2B`, `%2F` and `%3D`, so that a client that decodes and encodes a link again on
its way comes to grief here as it would at a real blob store.
"""

import hashlib
import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

FILES = "/files/"


class Links:
    """Signs the targets (path and query) of links, and judges them when they come back."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._signed = 0

    def target(self, file_name: str, now: datetime, lifetime: timedelta) -> str:
        """A fresh link, unlike any before."""
        expires = (now + lifetime).astimezone(UTC).isoformat(timespec="milliseconds")
        signature = ""
        while "+" not in signature or "/" not in signature:
            self._signed += 1
            signature = self._signature(file_name, expires, self._signed)
        return self._written(file_name, expires, self._signed, signature)

    def accepts(self, raw_target: str, now: datetime) -> bool:
        """Whether a target, as it stood in the request line, is one of ours, unaltered and still valid."""
        path, _, query = raw_target.partition("?")
        parts = dict(part.partition("=")[::2] for part in query.split("&"))
        try:
            expires, turn = unquote(parts["exp"]), int(parts["n"])
            valid = now < datetime.fromisoformat(expires)
        except (KeyError, ValueError, TypeError):
            return False
        name = path.removeprefix(FILES)
        ours = self._written(name, expires, turn, self._signature(name, expires, turn))
        return valid and hmac.compare_digest(ours.encode(), raw_target.encode("utf-8", "surrogateescape"))

    def _signature(self, file_name: str, expires: str, turn: int) -> str:
        text = f"{file_name}\n{expires}\n{turn}".encode()
        return b64encode(hmac.digest(self._key, text, hashlib.sha256)).decode()

    def _written(self, file_name: str, expires: str, turn: int, signature: str) -> str:
        return f"{FILES}{file_name}?sig={quote(signature, safe='')}&exp={quote(expires, safe='')}&n={turn}"
