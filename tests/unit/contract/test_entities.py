"""Every example has the shape that is promised, and struct and schema promise the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from streamer.contract.entities import ENTITIES, example_of
from streamer.contract.schemas import all_schemas
from streamer.model import EntityType
from tests.unit.cases import cases

schemas = cache(all_schemas)


@cache
def validator(entity_type: EntityType) -> Draft202012Validator:
    return Draft202012Validator(schemas()[entity_type.slug])


def fields_of(struct: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


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
