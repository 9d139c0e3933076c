"""The AsyncAPI document says of every topic what it is created with, and of every record what it comes with.

That it is an AsyncAPI document at all is proven by the AsyncAPI project's own parser, in ``tests/programs``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from jsonschema import Draft202012Validator

from streamer.config import Config, ConnectionConfig, EntityConfig, TopicsConfig
from streamer.contract.asyncapi import document
from streamer.contract.entities import example_of
from streamer.contract.headers import OPTIONAL
from streamer.core.records import Header, Origin, Reason, replay_headers, tombstone_headers
from streamer.core.veil import Veil
from streamer.model import ConnectionName, EntityType, ExportId, Secret, StreamKey
from streamer.topic_specs import topic_specs

STREAM = StreamKey(ConnectionName("alpine"), EntityType.ORDER_ITEM)
ORIGIN = Origin(export_id=ExportId("e1"), stream=STREAM, file_index=0, headers=True, max_record_bytes=1_000_000)


def config(**topics: Any) -> Config:
    connection = ConnectionConfig(
        name=STREAM.connection,
        platform_url="https://api.mews.com",
        client_token=Secret("canary"),
        access_token=Secret("canary"),
        entity_types=tuple(EntityType),
    )
    other = msgspec.structs.replace(connection, name=ConnectionName("seaside"), access_token=Secret("other"))
    return Config(topics=TopicsConfig(**topics), connections=(connection, other))


@cache
def whole() -> dict[str, Any]:
    return document(config(), version="1")


def resolved(made: dict[str, Any], message: str) -> dict[str, Any]:
    """A schema of a message's headers, those of its traits included."""
    found = made["components"]["messages"][message]
    traits = [made["components"]["messageTraits"][trait["$ref"].rpartition("/")[2]] for trait in found["traits"]]
    return {"allOf": [found["headers"], *(trait["headers"] for trait in traits)]}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def text(headers: list[Header]) -> dict[str, str]:
    return {name: value.decode() for name, value in headers}


def test_topics_are_told_as_they_are_created() -> None:
    settings = config(prefix="p", partitions=5, config={"p.bill": {"cleanup.policy": "compact,delete"}})
    channels = document(settings, version="1")["channels"]
    specs = {spec.name: spec for spec in topic_specs(settings) if spec.name != settings.topics.checkpoints}
    assert set(channels) == set(specs)
    for name, spec in specs.items():
        told = channels[name]["bindings"]["kafka"]
        configs = {
            key: ",".join(value) if isinstance(value, list) else str(value)
            for key, value in told["topicConfiguration"].items()
        }
        assert (told["topic"], told["partitions"], configs) == (name, spec.partitions, spec.configs)


def test_connections_with_topics_of_their_own_have_channels_of_their_own() -> None:
    channels = document(config(name="{prefix}.{connection}.{type}"), version="1")["channels"]
    assert {"mews.alpine.bill", "mews.seaside.bill"} <= set(channels)


def test_every_reference_leads_somewhere() -> None:
    made = whole()
    for reference in set(references(made)):
        place = made
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_records_come_with_the_headers_that_are_told() -> None:
    made = whole()
    gone = tombstone_headers(cause="e1", stream=STREAM, key=b"x", headers=True)
    letter = ORIGIN.dead_letter_headers(Reason.NO_ID, line=1, offset=0, length=9, digest="0f" * 32)
    for message, headers in [
        ("OrderItem", replay_headers(ORIGIN.record_headers(7), 17)),
        ("OrderItemGone", gone),
        ("DeadLetter", letter),
    ]:
        schema = resolved(made, message)
        Draft202012Validator(schema).validate(text(headers))
        always = {name: value for name, value in text(headers).items() if name not in OPTIONAL}
        Draft202012Validator(schema).validate(always)
        assert set(text(headers)) == {name for part in schema["allOf"] for name in part["properties"]}


def test_without_headers_none_are_told_but_those_of_dead_letters_and_events() -> None:
    messages = document(config(headers="none"), version="1")["components"]["messages"]
    assert "headers" not in messages["OrderItem"]
    assert "headers" in messages["DeadLetter"]
    assert "headers" in messages["ExportCompleted"]


def test_veiled_fields_are_told_as_they_are_published() -> None:
    privacy = EntityConfig(drop_fields=("LastName", "Notes"), hash_fields=("Email",), hash_key=Secret("key"))
    made = document(msgspec.structs.replace(config(), entity={EntityType.CUSTOMER: privacy}), version="1")
    schema = made["components"]["schemas"]["Customer"]
    (example,) = made["components"]["messages"]["Customer"]["examples"]
    assert not {"LastName", "Notes"} & (schema["properties"].keys() | set(schema["required"]) | example.keys())
    published = Veil(dropped=privacy.drop_fields, hashed=privacy.hash_fields, key=b"key")(
        msgspec.json.encode(example_of(EntityType.CUSTOMER))
    )
    validator = Draft202012Validator({**schema, "components": made["components"]})
    validator.validate(msgspec.json.decode(published))
    validator.validate(example["payload"])
    assert msgspec.json.decode(published).keys() == example["payload"].keys()


def test_the_document_has_no_secret() -> None:
    assert "canary" not in json.dumps(whole())
