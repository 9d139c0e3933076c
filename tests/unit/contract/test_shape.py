"""What of a changed format is seen, and where it is said to be."""

from __future__ import annotations

from typing import Any

import msgspec

from streamer.contract.entities import ENTITIES, example_of
from streamer.contract.shape import Drift, Shape
from streamer.model import EntityType
from tests.unit.cases import cases

PAYMENT = Shape(ENTITIES[EntityType.PAYMENT])
RESERVATION = Shape(ENTITIES[EntityType.RESERVATION])


def drifts(shape: Shape, entity_type: EntityType, **changes: Any) -> list[tuple[str, str, str]]:
    entity = {**example_of(entity_type), **changes}
    line = msgspec.json.encode({name: value for name, value in entity.items() if value is not msgspec.UNSET})
    return [(drift.field, drift.path, drift.problem) for drift in shape.drifts(line)]


def test_a_line_as_promised_has_no_drift() -> None:
    assert drifts(PAYMENT, EntityType.PAYMENT, Invented=1, State="Invented") == []


@cases(
    ("changes", "expected"),
    [
        ({"Number": 7}, [("Number", "Number", "Expected str, got int")]),
        ({"Number": None}, [("Number", "Number", "Expected str, got null")]),
        ({"Number": msgspec.UNSET}, [("Number", "Number", "is missing")]),
        ({"Notes": 7}, []),
        ({"CreatedUtc": "1 May"}, [("CreatedUtc", "CreatedUtc", "Invalid RFC3339 encoded datetime")]),
        (
            {"PersonCounts": [{"AgeCategoryId": "x", "Count": 1}, {"AgeCategoryId": "x", "Count": "1"}]},
            [("PersonCounts", "PersonCounts[].Count", "Expected int, got str")],
        ),
        ({"PersonCounts": [{"Count": 1}]}, [("PersonCounts", "PersonCounts[].AgeCategoryId", "is missing")]),
        (
            {"Options": {**example_of(EntityType.RESERVATION)["Options"], "OwnerCheckedIn": "yes"}, "RateId": 1},
            [
                ("Options", "Options.OwnerCheckedIn", "Expected bool, got str"),
                ("RateId", "RateId", "Expected str, got int"),
            ],
        ),
    ],
)
def test_drift_is_told_with_field_and_path(changes: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert sorted(drifts(RESERVATION, EntityType.RESERVATION, **changes)) == sorted(expected)


def test_a_problem_never_shows_a_value() -> None:
    line = b'{"Id":"a","LastName":["canary"],"CreatedUtc":"canary"}'
    assert "canary" not in repr(Shape(ENTITIES[EntityType.CUSTOMER]).drifts(line))


def test_what_no_field_explains_is_told_of_the_whole_line() -> None:
    class Never(msgspec.Struct):
        def __post_init__(self) -> None:
            raise ValueError("never")

    assert Shape(Never).drifts(b"{}") == (Drift("", "never"),)
