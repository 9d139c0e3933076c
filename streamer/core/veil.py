"""Takes fields out of entities, or puts keyed hashes in their place, for those who may not store personal data.

The rule of bytes: an entity of a veiled type is written anew as one JSON object, without spaces between its members, in
the order in which they came. Values of fields that nobody named keep the very bytes that Mews sent, numbers too. A
field that occurs twice is written once, with its last value. So the same line always becomes the same bytes, as long as
the settings and the key stay; whatever compares lines compares these bytes.

What a newcomer would get wrong: a hash without a key hides nothing, as there are few names and few telephone numbers.
And the name of the field is no part of what is hashed, so that equal values can be joined by their hashes.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any

import msgspec

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NULL = b"null"
_SORTED = msgspec.json.Encoder(order="deterministic")


class Veil:
    """The fields of one entity type that are dropped or hashed. ``key`` is only needed to hash."""

    def __init__(self, *, dropped: Iterable[str] = (), hashed: Iterable[str] = (), key: bytes = b"") -> None:
        self._dropped = frozenset(dropped)
        self._hashed = frozenset(hashed)
        self._key = key

    def __call__(self, line: bytes) -> bytes:
        """The entity as it may be published; ``line`` is known to be a JSON object."""
        members = {
            name: self._hash(value) if name in self._hashed else value
            for name, value in _decode(line).items()
            if name not in self._dropped
        }
        return msgspec.json.encode(members)

    def digest(self, line: bytes) -> str:
        """What may be kept of a line that is no entity: its keyed hash, in hexadecimal."""
        return hmac.digest(self._key or b"streamer", line, "sha256").hex()

    def _hash(self, value: msgspec.Raw) -> msgspec.Raw:
        """Null stays null. Text is hashed as text, however it was escaped; anything else as JSON with sorted keys."""
        if bytes(value) == _NULL:
            return value
        decoded: Any = msgspec.json.decode(value)
        text = decoded.encode() if isinstance(decoded, str) else _SORTED.encode(decoded)
        return msgspec.Raw(b'"%s"' % hmac.digest(self._key, text, "sha256").hex().encode())
