"""All schemas at once, held against their own dialects: what checks them takes its time."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
from jsonschema import Draft7Validator, Draft202012Validator

from streamer.config import load_config
from streamer.contract import events
from streamer.contract.entities import example_of
from streamer.contract.events import EVENTS
from streamer.contract.schemas import all_schemas
from streamer.contract.subjects import subjects
from streamer.model import PUBLIC_ENTITY_TYPES, EntityType

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
schemas = cache(all_schemas)


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
