"""JSON Schemas, 2020-12, of whatever is published as JSON.

They are made from the structs, so that what consumers are told, what ``exports.validate`` checks, and what an example
reads can't drift apart. Nothing is closed: unknown fields and words are valid, by ``x-extensible-enum`` for the words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from streamer.contract.entities import ENTITIES
from streamer.contract.events import EVENTS, name_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(struct: type[msgspec.Struct], name: str) -> dict[str, Any]:
    """A schema that stands by itself; ``name`` is that of its file without the ending."""
    schema = msgspec.json.schema(struct)
    definitions = schema.pop("$defs")
    root = definitions.pop(struct.__name__)
    alone = {"$schema": DIALECT, "$id": f"urn:streamer:schema:{name}", **root}
    return {**alone, "$defs": definitions} if definitions else alone


def all_schemas() -> dict[str, dict[str, Any]]:
    """Every schema, by the name of its file without the ending: ``reservation``, ``export-completed``."""
    structs: dict[str, type[msgspec.Struct]] = {entity_type.slug: struct for entity_type, struct in ENTITIES.items()}
    structs |= {name_of(event).replace("_", "-"): event for event in EVENTS}
    return {name: schema_of(struct, name) for name, struct in structs.items()}


def definitions_of(structs: Iterable[type[msgspec.Struct]], template: str) -> dict[str, Any]:
    """The schemas of structs and of all that they refer to, by name; ``template`` says how they are referred to."""
    _, definitions = msgspec.json.schema_components(structs, ref_template=template)
    return definitions
