"""What the simulator makes up has the shape that is promised to those who read it."""

from __future__ import annotations

import json

import msgspec
from jsonschema import Draft202012Validator

from streamer.contract.entities import ENTITIES
from streamer.contract.schemas import all_schemas
from streamer.model import EntityType
from streamer.sandbox.entities import TEMPLATES, render
from streamer.sandbox.entity_values import DATE_SLOT, STAMP_SLOT, Draw
from tests.unit.cases import cases


@cases("entity_type", list(EntityType))
def test_lines_have_the_shape_of_their_struct_and_schema(entity_type: EntityType) -> None:
    decode = msgspec.json.Decoder(ENTITIES[entity_type]).decode
    schema = Draft202012Validator(all_schemas()[entity_type.slug])
    draw = Draw(entity_type)
    for number in range(64):
        line = render(TEMPLATES[entity_type](draw))
        for slot in (STAMP_SLOT, DATE_SLOT):
            line = line.replace(slot.encode(), b"2026-01-01T12:00:00Z"[: len(slot)])
        entity = json.loads(line)
        assert decode(line).id == entity["Id"]
        if number % 32 == 0:  # slower by three orders of magnitude
            schema.validate(entity)
