"""Holds lines against the struct of their entity type, to see the day on which Mews' format changes.

What a newcomer would get wrong: a decoder stops at the first thing that is wrong. A field that has been wrong for weeks
would hide all that go wrong after it, so a line that doesn't fit is looked at again, field by field.
"""

from __future__ import annotations

import re

import msgspec

from streamer.core.records import UNREADABLE

_PLACE = re.compile(r" - at `\$(.*)`$")
_INDEX = re.compile(r"\[[^\]]*\]")


class Drift(msgspec.Struct, frozen=True):
    """One way in which lines differ from what is promised.

    There are only as many as there are fields in the schema: ``path`` has no positions (``PersonCounts[].Count``), and
    ``problem`` names types, never a value.
    """

    path: str
    problem: str

    @property
    def field(self) -> str:
        """The field of the entity that the path begins with."""
        return re.split(r"[.\[]", self.path, maxsplit=1)[0]


class Shape:
    """The promised shape of an entity type."""

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self._decode = msgspec.json.Decoder(struct).decode
        self._split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self._fields = {
            field.encode_name: (msgspec.json.Decoder(field.type).decode, field.required)
            for field in msgspec.structs.fields(struct)
        }

    def drifts(self, line: bytes) -> tuple[Drift, ...]:
        """What is wrong with the fields of an object; nothing for nearly all lines, in a few microseconds."""
        try:
            self._decode(line)
        except UNREADABLE as error:
            return self._by_field(line) or (Drift("", str(error)),)
        return ()

    def _by_field(self, line: bytes) -> tuple[Drift, ...]:
        values = self._split(line)
        found = []
        for name, (decode, required) in self._fields.items():
            value = values.get(name)
            if value is not None:
                try:
                    decode(value)
                except UNREADABLE as error:
                    found.append(_drift(name, str(error)))
            elif required:
                found.append(Drift(name, "is missing"))
        return tuple(found)


def _drift(field: str, message: str) -> Drift:
    place = _PLACE.search(message)
    path = field + _INDEX.sub("[]", place[1]) if place else field
    missing = re.search(r"missing required field `(\w+)`", message)
    if missing:
        return Drift(f"{path}.{missing[1]}", "is missing")
    return Drift(path, _PLACE.sub("", message).replace("`", ""))
