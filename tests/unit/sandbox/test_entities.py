import json
import re
from pathlib import Path

import pytest

from streamer.sandbox.entities import ENTITY_TYPES, PAGE_LINES, Numbers, page

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
FIELDS = json.loads((Path(__file__).parent / "entity_fields.json").read_text())


def noon(entities: Numbers) -> Numbers:
    return 1_767_268_800 + entities % 60


def lines(entity_type: str, count: int = PAGE_LINES, seed: int = 1) -> list[bytes]:
    made = page(entity_type, seed)
    data = b"".join(made.read(0, made.offset_of(count), noon))
    assert data.endswith(b"\n")
    return data[:-1].split(b"\n")


@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_every_line_has_every_field_of_its_type_in_the_order_of_the_api(entity_type: str) -> None:
    for line in lines(entity_type):
        assert list(json.loads(line)) == FIELDS[entity_type]


@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_ids_are_lower_case_uuids_and_never_repeat(entity_type: str) -> None:
    ids = [json.loads(line)["Id"] for line in lines(entity_type, 3 * PAGE_LINES)]
    assert len(set(ids)) == len(ids)
    assert all(UUID.fullmatch(text) for text in ids)


def test_types_share_no_ids() -> None:
    ids = {json.loads(line)["Id"] for entity_type in ENTITY_TYPES for line in lines(entity_type)}
    assert len(ids) == len(ENTITY_TYPES) * PAGE_LINES


@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
def test_no_stand_in_is_left_over(entity_type: str) -> None:
    text = b"\n".join(lines(entity_type))
    for stand_in in (b"iiii", b"tttt-", b"dddd-", b"7777777777"):
        assert stand_in not in text


def test_the_same_seed_makes_the_same_lines_and_another_seed_others() -> None:
    page.cache_clear()
    first = lines("Customer")
    page.cache_clear()
    assert lines("Customer") == first
    assert lines("Customer", seed=2) != first


@pytest.mark.parametrize("entity_type", ENTITY_TYPES)
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


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (999, 5000), (400_000, 2_000_000), (7, 7)])
def test_any_range_reads_the_same_bytes_as_the_whole(start: int, stop: int) -> None:
    made = page("ResourceBlock", 1)
    whole = b"".join(made.read(0, 2_000_000, noon))
    assert b"".join(made.read(start, stop, noon)) == whole[start:stop]


def test_an_offset_is_where_the_line_of_an_entity_begins() -> None:
    made = page("Bill", 1)
    data = b"".join(made.read(0, made.offset_of(2 * PAGE_LINES), noon))
    begins = [0] + [place.end() for place in re.finditer(b"\n", data)]
    assert [made.offset_of(entity) for entity in range(2 * PAGE_LINES + 1)] == begins


@pytest.mark.parametrize("length", [150, 430, 1410])
def test_fixed_lines_have_exactly_the_length_asked_for(length: int) -> None:
    made = page("OrderItem", 1, length)
    data = b"".join(made.read(0, made.offset_of(PAGE_LINES), noon))
    assert {len(line) for line in data[:-1].split(b"\n")} == {length}
    assert json.loads(data[:length])["UpdatedUtc"] == "2026-01-01T12:00:00Z"


def test_a_line_too_short_for_its_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        page("OrderItem", 1, 20)


def test_a_companys_number_needs_all_its_nineteen_digits() -> None:
    assert {len(str(json.loads(line)["Number"])) for line in lines("Company")} == {19}
