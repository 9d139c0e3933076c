"""What a schema registry is told: a JSON Schema to each topic of JSON values that others read.

The names are those of ``TopicNameStrategy``, the default of all serializers: a topic's name with ``-value``. Keys are
text, and dead letters are bytes of any kind: neither has a schema.

What a newcomer would get wrong: these are the published schemas in the words of draft 7. Registries store a later one
as well, but not all of them compare two versions of it: Apicurio's answers 500 from the second version on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from streamer.config import Config
from streamer.contract.entities import ENTITIES
from streamer.contract.events import EVENTS
from streamer.contract.veiled import veiled_schema

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
_DEFINITIONS = "#/definitions/{name}"


class Subject(msgspec.Struct, frozen=True):
    """A name in the registry, what belongs under it, and the level of compatibility that a new one gets."""

    name: str
    schema: Mapping[str, Any]
    level: str


def subjects(config: Config) -> tuple[Subject, ...]:
    """The subjects of these settings: of what is published, without the fields that are left out."""
    topics = config.topics
    schemas = {}
    for key in config.streams():
        schema = _schema_of(ENTITIES[key.entity_type])
        if privacy := config.entity.get(key.entity_type):
            schema = veiled_schema(schema, privacy)
        schemas[topics.entity_topic(key)] = schema
    # FORWARD: who knows the last version can read what is written by the new one. Here the producer comes first, and
    # adding a field breaks nothing in this direction only, where additional ones were allowed all along. No level
    # allows a new kind of event, which consumers have to pass over.
    entities = [Subject(f"{topic}-value", schema, "FORWARD") for topic, schema in schemas.items()]
    return (*entities, Subject(f"{topics.events}-value", _schema_of(*EVENTS), "NONE"))


def _schema_of(*structs: type[msgspec.Struct]) -> dict[str, Any]:
    """A schema that stands by itself, of a struct or of any one of several."""
    roots, definitions = msgspec.json.schema_components(structs, ref_template=_DEFINITIONS)
    root = {"anyOf": list(roots)}
    if len(roots) == 1:
        root = definitions.pop(structs[0].__name__)
    return {"$schema": DIALECT, **root, **({"definitions": definitions} if definitions else {})}
