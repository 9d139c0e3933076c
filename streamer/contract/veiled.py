"""What becomes of a schema and of an example where fields of the entity type are dropped or hashed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from streamer.config import EntityConfig

_HASH: Final = {
    "type": ["string", "null"],
    "pattern": "^[0-9a-f]{64}$",
    "description": "A keyed hash of what Mews sent.",
}
_MADE_UP_HASH: Final = "0f" * 32


def veiled_schema(schema: Mapping[str, Any], privacy: EntityConfig) -> dict[str, Any]:
    """The schema of what is published."""
    properties = {
        name: dict(_HASH) if name in privacy.hash_fields else about
        for name, about in schema["properties"].items()
        if name not in privacy.drop_fields
    }
    required = [name for name in schema["required"] if name not in privacy.drop_fields]
    return {**schema, "properties": properties, "required": required}


def veiled_example(example: Mapping[str, Any], privacy: EntityConfig) -> dict[str, Any]:
    """The example as it would be published, with a made-up hash."""
    return {
        name: _MADE_UP_HASH if name in privacy.hash_fields and value is not None else value
        for name, value in example.items()
        if name not in privacy.drop_fields
    }
