"""What the simulator makes up, and every example, has the shape that is promised."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from streamer.config import load_config
from streamer.contract import events
from streamer.contract.entities import ENTITIES, example_of
from streamer.contract.events import EVENTS
from streamer.contract.schemas import all_schemas
from streamer.contract.subjects import subjects
from streamer.model import PUBLIC_ENTITY_TYPES, EntityType
from streamer.sandbox.entities import TEMPLATES, render
from streamer.sandbox.entity_values import DATE_SLOT, STAMP_SLOT, Draw
from tests.unit.cases import cases

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"
schemas = cache(all_schemas)


@cache
def validator(entity_type: EntityType) -> Draft202012Validator:
    return Draft202012Validator(schemas()[entity_type.slug])


def fields_of(struct: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


@cases("entity_type", list(EntityType))
def test_lines_have_the_shape_of_their_struct_and_schema(entity_type: EntityType) -> None:
    decode = msgspec.json.Decoder(ENTITIES[entity_type]).decode
    schema = validator(entity_type)
    draw = Draw(entity_type)
    for number in range(64):
        line = render(TEMPLATES[entity_type](draw))
        for slot in (STAMP_SLOT, DATE_SLOT):
            line = line.replace(slot.encode(), b"2026-01-01T12:00:00Z"[: len(slot)])
        entity = json.loads(line)
        assert decode(line).id == entity["Id"]
        if number % 32 == 0:  # slower by three orders of magnitude
            schema.validate(entity)


def test_every_schema_is_one_by_its_own_dialect() -> None:
    for schema in schemas().values():
        Draft202012Validator.check_schema(schema)


def test_a_registry_is_told_the_same_in_the_words_of_draft_7() -> None:
    config = load_config(EXAMPLE, environ={}, with_secrets=False)
    by_name = {subject.name: subject for subject in subjects(config)}
    assert set(by_name) == {f"mews.{name}-value" for name in ("exports", *(t.slug for t in PUBLIC_ENTITY_TYPES))}
    for subject in by_name.values():
        Draft7Validator.check_schema(subject.schema)
        assert not {"$id", "$defs", "$ref"} & set(subject.schema)
    newer, older = Draft202012Validator, Draft7Validator
    for entity_type in (EntityType.RESERVATION, EntityType.CUSTOMER):
        told, published = by_name[f"mews.{entity_type.slug}-value"].schema, schemas()[entity_type.slug]
        entity = example_of(entity_type)
        assert older(told).is_valid(entity)
        for field in entity:
            broken = {**entity, field: {"no": "such"}}
            assert older(told).is_valid(broken) == newer(published).is_valid(broken), field
    told = by_name["mews.exports-value"].schema
    for event in EVENTS:
        assert older(told).is_valid(msgspec.to_builtins(events.example_of(event)))


@cases("entity_type", list(EntityType))
def test_an_example_names_every_field_and_no_other(entity_type: EntityType) -> None:
    example = example_of(entity_type)
    assert set(example) == fields_of(ENTITIES[entity_type])
    msgspec.convert(example, ENTITIES[entity_type])
    validator(entity_type).validate(example)


@cases("entity_type", list(EntityType))
def test_unknown_fields_and_words_are_normal(entity_type: EntityType) -> None:
    entity = {**example_of(entity_type), "Invented": {"By": "Mews"}, "State": "Invented", "Type": "Invented"}
    msgspec.convert(entity, ENTITIES[entity_type])
    validator(entity_type).validate(entity)


@pytest.mark.parametrize(
    ("entity_type", "change"),
    [
        (EntityType.RESERVATION, {"PersonCounts": "2"}),
        (EntityType.PAYMENT, {"Amount": {"Currency": "EUR"}}),
        (EntityType.CUSTOMER, {"IsActive": "true"}),
        (EntityType.COMPANY, {"Number": None}),
    ],
)
def test_struct_and_schema_refuse_the_same(entity_type: EntityType, change: dict[str, Any]) -> None:
    entity = {**example_of(entity_type), **change}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(entity, ENTITIES[entity_type])
    assert not validator(entity_type).is_valid(entity)
