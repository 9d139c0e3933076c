import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamer.sandbox.entities import ENTITY_TYPES, PAGE_LINES, Numbers, Page, page
from tests.unit.cases import cases

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
FIELDS = json.loads((Path(__file__).parent / "entity_fields.json").read_text())


def noon(entities: Numbers) -> Numbers:
    return 1_767_268_800 + entities % 60


def read(made: Page, count: int = PAGE_LINES) -> list[bytes]:
    data = b"".join(made.read(0, made.offset_of(count), noon))
    assert data.endswith(b"\n")
    return data[:-1].split(b"\n")


@cache
def lines(entity_type: str) -> list[bytes]:
    return read(page(entity_type, 1))


@cache
def entities(entity_type: str) -> list[dict[str, Any]]:
    """Those of two pages."""
    return [msgspec.json.decode(line) for line in read(page(entity_type, 1), 2 * PAGE_LINES)]


@cases("entity_type", ENTITY_TYPES)
def test_every_line_has_every_field_of_its_type_in_the_order_of_the_api(entity_type: str) -> None:
    for entity in entities(entity_type):
        assert list(entity) == FIELDS[entity_type]


@cases("entity_type", ENTITY_TYPES)
def test_ids_are_lower_case_uuids_and_never_repeat(entity_type: str) -> None:
    ids = [entity["Id"] for entity in entities(entity_type)]
    assert len(ids) == 2 * PAGE_LINES
    assert len(set(ids)) == len(ids)
    assert all(UUID.fullmatch(text) for text in ids)


def test_types_share_no_ids() -> None:
    ids = {entity["Id"] for entity_type in ENTITY_TYPES for entity in entities(entity_type)}
    assert len(ids) == len(ENTITY_TYPES) * 2 * PAGE_LINES


@cases("entity_type", ENTITY_TYPES)
def test_no_stand_in_is_left_over(entity_type: str) -> None:
    text = b"\n".join(lines(entity_type))
    for stand_in in (b"iiii", b"tttt-", b"dddd-", b"7777777777"):
        assert stand_in not in text


def test_the_same_seed_makes_the_same_lines_and_another_seed_others() -> None:
    made_again = page.__wrapped__("Bill", 1)  # not the page that is kept
    assert made_again is not page("Bill", 1)
    assert read(made_again) == lines("Bill")
    assert read(page("Bill", 2)) != lines("Bill")


@cases("entity_type", ENTITY_TYPES)
def test_lines_vary_in_length(entity_type: str) -> None:
    assert len({len(line) for line in lines(entity_type)}) > 20


def test_strings_hold_what_real_ones_hold() -> None:
    text = b"\n".join(lines("Customer"))
    assert "\u2028".encode() in text
    assert "🛏️".encode() in text
    assert "Šárka".encode() in text
    assert b"\\n" in text
    assert b"\\u00" in text  # one line in sixteen is escaped
    assert b"null" in text


@cases(("start", "stop"), [(0, 1), (999, 5000), (400_000, 2_000_000), (7, 7)])
def test_any_range_reads_the_same_bytes_as_the_whole(start: int, stop: int) -> None:
    made = page("ResourceBlock", 1)
    whole = b"".join(made.read(0, 2_000_000, noon))
    assert b"".join(made.read(start, stop, noon)) == whole[start:stop]


def test_an_offset_is_where_the_line_of_an_entity_begins() -> None:
    made = page("Bill", 1)
    data = b"".join(made.read(0, made.offset_of(2 * PAGE_LINES), noon))
    begins = [0] + [place.end() for place in re.finditer(b"\n", data)]
    assert [made.offset_of(entity) for entity in range(2 * PAGE_LINES + 1)] == begins


@cases("length", [150, 430])
def test_fixed_lines_have_exactly_the_length_asked_for(length: int) -> None:
    made = page("OrderItem", 1, length)
    data = b"".join(made.read(0, made.offset_of(PAGE_LINES), noon))
    assert {len(line) for line in data[:-1].split(b"\n")} == {length}
    assert json.loads(data[:length])["UpdatedUtc"] == "2026-01-01T12:00:00Z"


def test_a_line_too_short_for_its_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        page("OrderItem", 1, 20)


def test_a_companys_number_needs_all_its_nineteen_digits() -> None:
    assert {len(str(entity["Number"])) for entity in entities("Company")} == {19}
