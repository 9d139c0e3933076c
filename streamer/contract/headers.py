"""Headers of the records, each with what it says: CloudEvents in binary mode, and what dead letters have besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from streamer.core.records import Reason
from streamer.model import EntityType

Headers = Mapping[str, Mapping[str, Any]]

CLOUDEVENT: Final[Headers] = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": {
        "description": "Names this record and no other: an export, a file of it by number from 0, and the byte offset "
        "of the line. A record that comes twice has the same one.",
        "examples": ["0f9c2a74-6d1e-4b53-9c1a-b35500a1d2e3/0/48213"],
    },
    "ce_source": {"pattern": "^/mews/[a-z0-9-]{1,40}$", "description": "The connection it came by."},
    "ce_type": {"description": "What it is: com.mews. and the entity type, or streamer. and the event."},
}
ENTITY: Final[Headers] = {
    "content-type": {"const": "application/json"},
    "streamer.replay": {
        "pattern": "^[0-9]+$",
        "description": "The record of a dead letter that was replayed, out of the order of its export; the offset of "
        "the signal that wanted it.",
    },
}
TOMBSTONE: Final[Headers] = {
    "ce_id": {
        "description": "An export, or retire- or erase- and the offset of a signal; the word gone, and the Id.",
        "examples": [
            "0f9c2a74-6d1e-4b53-9c1a-b35500a1d2e3/gone/35b81c5d-a0e4-4f29-8b1c-b35200a4fb11",
        ],
    }
}
EVENT: Final[Headers] = {
    "ce_id": {"description": "An export or a request, and the event.", "examples": ["0f9c2a74/export_completed"]},
    "content-type": {"const": "application/json"},
}
DEAD_LETTER: Final[Headers] = {
    "content-type": {"const": "application/octet-stream"},
    "__connect.errors.exception.class.name": {
        "description": "Why it can be no record.",
        "x-extensible-enum": [reason.value for reason in Reason],
    },
    "__connect.errors.exception.message": {"description": "The same in a sentence."},
    "__connect.errors.stage": {"description": "What failed, in the words of Kafka Connect."},
    "streamer.entity.type": {"x-extensible-enum": [entity_type.value for entity_type in EntityType]},
    "streamer.line": {"pattern": "^[0-9]+$", "description": "Number of the line in its file, from 1."},
    "streamer.length": {"pattern": "^[0-9]+$", "description": "Bytes of the whole line, without its ending."},
    "streamer.digest": {
        "pattern": "^[0-9a-f]{64}$",
        "description": "Stands for the line where personal fields of its entity type may not be stored: the value is "
        "empty then.",
    },
}


OPTIONAL: Final = {"streamer.digest", "streamer.replay"}
"""Headers that aren't always there."""


def header_schema(headers: Headers) -> dict[str, Any]:
    """A schema of headers, as text."""
    return {
        "type": "object",
        "required": [name for name in headers if name not in OPTIONAL],
        "properties": {name: {"type": "string", **about} for name, about in headers.items()},
    }
