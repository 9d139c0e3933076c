"""The AsyncAPI 3 document: topics, keys, headers and messages, for one set of settings.

Topics come from ``topic_specs``, which is what they are created from, and messages from the structs that lines are held
against: there is nothing to be kept in step by hand but the headers, and a test compares those with real records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec

from streamer.config import Config
from streamer.contract import events
from streamer.contract.entities import ENTITIES, example_of
from streamer.contract.headers import (
    CLOUDEVENT,
    DEAD_LETTER,
    ENTITY,
    EVENT,
    TOMBSTONE,
    header_schema,
)
from streamer.contract.schemas import definitions_of
from streamer.contract.veiled import veiled_example, veiled_schema
from streamer.core.signals import Signal
from streamer.model import EntityType
from streamer.topic_specs import TopicSpec, topic_specs

SIGNALS: tuple[type[msgspec.Struct], ...] = get_args(Signal)
VERSION = "3.0.0"
KAFKA_BINDING = "0.5.0"
_SCHEMA = "#/components/schemas/{name}"
_LISTED = {"cleanup.policy"}  # a list in the Kafka binding
_NUMBERS = {"retention.ms", "retention.bytes", "delete.retention.ms", "max.message.bytes"}


def document(config: Config, *, version: str) -> dict[str, Any]:
    """The document for these settings; ``version`` is that of the program."""
    topics = config.topics
    specs = {spec.name: spec for spec in topic_specs(config)}
    by_topic: dict[str, list[EntityType]] = {}
    for key in config.streams():
        types = by_topic.setdefault(topics.entity_topic(key), [])
        types += [key.entity_type] if key.entity_type not in types else []
    channels = {
        name: _channel(
            specs[name],
            f"The newest version of every {', '.join(types)}, by its Id.",
            [message for entity_type in types for message in (entity_type.value, f"{entity_type.value}Gone")],
        )
        for name, types in by_topic.items()
    }
    channels[topics.events] = _channel(
        specs[topics.events], "What became of every export.", [event.__name__ for event in events.EVENTS]
    )
    channels[topics.dead_letters] = _channel(
        specs[topics.dead_letters], "Lines that can never become a record, with reason and position.", ["DeadLetter"]
    )
    channels[topics.signals] = _channel(specs[topics.signals], "What people ask of running streams.", ["Signal"])
    used = list(dict.fromkeys(entity_type for types in by_topic.values() for entity_type in types))
    messages = {
        **{name: message for entity_type in used for name, message in _entity_messages(config, entity_type)},
        **{event.__name__: _event_message(event) for event in events.EVENTS},
        "DeadLetter": _dead_letter_message(),
        "Signal": _signal_message(),
    }
    schemas = definitions_of([*(ENTITIES[entity_type] for entity_type in used), *events.EVENTS, *SIGNALS], _SCHEMA)
    for entity_type, privacy in config.entity.items():
        if entity_type in used:
            schemas[entity_type.value] = veiled_schema(schemas[entity_type.value], privacy)
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "streamer",
            "version": version,
            "description": "Entities of a Mews property-management system as Kafka records, exactly once for consumers "
            "that read committed records only.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            **dict(_operation("publish", "send", name) for name in channels if name != topics.signals),
            **dict([_operation("hear", "receive", topics.signals)]),
        },
        "components": {
            "messages": messages,
            "messageTraits": {"CloudEvent": {"headers": header_schema(CLOUDEVENT)}},
            "schemas": schemas,
        },
    }


def _channel(spec: TopicSpec, description: str, messages: Iterable[str]) -> dict[str, Any]:
    return {
        "address": spec.name,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "topic": spec.name,
                "partitions": spec.partitions,
                "topicConfiguration": _topic_configuration(spec.configs),
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _topic_configuration(configs: Mapping[str, str]) -> dict[str, Any]:
    """Kafka's names with the types that the binding gives them; it leaves those that it doesn't know as they are."""
    values: dict[str, Any] = {}
    for name, value in sorted(configs.items()):
        if name in _LISTED:
            values[name] = [word.strip() for word in value.split(",")]
        else:
            values[name] = int(value) if name in _NUMBERS else value
    return values


def _entity_messages(config: Config, entity_type: EntityType) -> Iterable[tuple[str, dict[str, Any]]]:
    name = entity_type.value
    key = {"type": "string", "description": f"The Id of the {name}."}
    example, summary = example_of(entity_type), "The line as Mews sent it."
    if privacy := config.entity.get(entity_type):
        example = veiled_example(example, privacy)
        summary = "The line that Mews sent, without some fields or with hashes in their place."
    present = {
        "name": name,
        "title": name,
        "summary": summary,
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": _kafka_key(key),
        "examples": [{"name": "made-up", "payload": example}],
    }
    gone = {
        "name": f"{name}Gone",
        "title": f"{name} gone",
        "summary": "A tombstone: a key without a value. The entity is not at Mews any more.",
        "payload": {"type": "null"},
        "bindings": _kafka_key(key),
    }
    if config.topics.headers == "cloudevents":
        present |= _headers(ENTITY, ce_type=f"com.mews.{name}")
        gone |= _headers(TOMBSTONE, ce_type=f"com.mews.{name}")
    yield name, present
    yield f"{name}Gone", gone


def _event_message(event: type[events.ExportEvent]) -> dict[str, Any]:
    return {
        "name": events.name_of(event),
        "title": event.__name__,
        "summary": (event.__doc__ or "").partition("\n")[0],
        **_headers(EVENT, ce_type=f"streamer.{events.name_of(event)}"),
        "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
        "bindings": _kafka_key(_STREAM_KEY),
        "examples": [{"name": "made-up", "payload": events.example_of(event)}],
    }


def _dead_letter_message() -> dict[str, Any]:
    return {
        "name": "DeadLetter",
        "title": "Dead letter",
        "summary": "The bytes of the line, or its first ones where the topic takes no more; the headers say why.",
        "contentType": "application/octet-stream",
        **_headers(DEAD_LETTER, ce_type="streamer.dead_letter"),
        "payload": {"type": "string", "format": "binary"},
        "bindings": _kafka_key(_STREAM_KEY),
    }


def _signal_message() -> dict[str, Any]:
    return {
        "name": "Signal",
        "title": "Signal",
        "summary": "A wish, which is answered by signal_applied or signal_rejected; streamer signal writes it.",
        "payload": {"oneOf": [{"$ref": f"#/components/schemas/{signal.__name__}"} for signal in SIGNALS]},
        "bindings": _kafka_key({"type": "string", "description": "The stream, or * for all.", "examples": ["*"]}),
        "examples": [{"name": "pause", "payload": {"signal": "pause"}}],
    }


_STREAM_KEY = {
    "type": "string",
    "description": "The stream: connection and entity type.",
    "examples": ["alpine-hotels/Reservation"],
}


def _kafka_key(key: Mapping[str, Any]) -> dict[str, Any]:
    return {"kafka": {"key": dict(key), "bindingVersion": KAFKA_BINDING}}


def _headers(names: Mapping[str, Any], *, ce_type: str) -> dict[str, Any]:
    """The trait that all have in common, and beside it the headers of this message alone."""
    return {
        "headers": header_schema({**names, "ce_type": {"const": ce_type}}),
        "traits": [{"$ref": "#/components/messageTraits/CloudEvent"}],
    }


def _operation(verb: str, action: str, channel: str) -> tuple[str, dict[str, Any]]:
    return f"{verb}.{channel}", {"action": action, "channel": {"$ref": f"#/channels/{_pointer(channel)}"}}


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
