"""The page about privacy lists every field that the schemas mark, and no other."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from streamer.contract.entities import ENTITIES
from streamer.contract.fields import PERSONAL_DATA
from streamer.contract.schemas import schema_of

PAGE = Path(__file__).parents[3] / "docs" / "privacy.md"


def test_the_page_lists_what_the_schemas_mark() -> None:
    marked: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for entity_type, struct in ENTITIES.items():
        for name, field in schema_of(struct, "any")["properties"].items():
            ways = {part[PERSONAL_DATA] for part in (field, *field.get("anyOf", ())) if PERSONAL_DATA in part}
            for way in ways:
                marked[way][entity_type.value].append(name)
    listed = {
        way: {
            entity_type: re.findall(r"`(\w+)`", fields)
            for entity_type, _, fields in (part.partition(": ") for part in text.split("; "))
        }
        for way, text in re.findall(r"(?m)^\| `([a-z-]+)` \| [^|]*\| ([^|]*) \|$", PAGE.read_text(encoding="utf-8"))
    }
    assert listed == marked
    assert "Address" in listed["personal"]["Customer"]
