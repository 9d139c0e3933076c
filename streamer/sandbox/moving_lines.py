"""What the entities of a moving world look like: each keeps what it is, while updates change some of it.

Of each type there are a few dozen characters, made once, each in a handful of moods and, where the type
can be merged, in the state after that. An entity has the character of its number, its version has a mood;
the places that differ from entity to entity are filled in. They have a fixed width, so that a line's length
is known before it is written.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
import numpy as np

from streamer.sandbox.api_requests import CHAIN_TYPES
from streamer.sandbox.entities import (
    BIGGEST_NUMBER,
    ENTITY_TYPES,
    TEMPLATES,
    Numbers,
    digits_of,
    ids_of,
    render,
    stamps_of,
)
from streamer.sandbox.entity_values import DATE_SLOT, ID_SLOT, NUMBER_SLOT, STAMP_SLOT, Draw

CHARACTERS = 63
MOODS = 4
ENTERPRISES = 3  # the characters are shared out among them in turn
BORN_SLOT = "bbbb-bb-bbTbb:bb:bbZ"
MERGED_SLOT = "mmmmmmmm-mmmm-4mmm-8mmm-mmmmmmmmmmmm"
SLOTS = {ID_SLOT: "id", STAMP_SLOT: "stamp", BORN_SLOT: "born", DATE_SLOT: "date", NUMBER_SLOT: "number",
         MERGED_SLOT: "merged"}  # fmt: skip
# What an update never changes, or changes only where a merge does.
LASTING = frozenset({"Id", "Number", "CreatedUtc", "EnterpriseId", "ChainId", "IsActive", "ActivityState"})
CHANGED_SHARE = 0.15
# One in so many companies has no time of its last update, as the API allows, and no window ever shows it.
UNSTAMPED_EVERY = 21


class Rows(msgspec.Struct, frozen=True):
    """Which lines to write: entities with what fills their places, all of them of equal length."""

    entities: Numbers
    forms: Numbers  # numbers of `Forms.texts`
    stamps: Numbers
    born: Numbers
    days: Numbers
    targets: Numbers

    def part(self, start: int, stop: int | None) -> "Rows":
        return Rows(*(getattr(self, name)[start:stop] for name in self.__struct_fields__))


class Forms(msgspec.Struct, frozen=True):
    """The characters of a type in all their moods, ready to be filled in."""

    texts: list[bytes]
    lengths: Numbers  # of each line with its newline
    stamped: np.ndarray  # of each character, whether it has a time of its last update
    seed: int

    def number_of(self, entities: Numbers, versions: Numbers, is_merged: np.ndarray) -> Numbers:
        mood = np.where(is_merged, MOODS, versions % MOODS)
        return entities % CHARACTERS * (MOODS + 1) + mood

    def lines(self, rows: Rows) -> Iterator[bytes]:
        ids, targets = _texts(ids_of(rows.entities, self.seed)), _texts(ids_of(rows.targets, self.seed))
        numbers = _texts(digits_of(BIGGEST_NUMBER // 10 + rows.entities % (BIGGEST_NUMBER // 10 * 9)))
        stamps, born = _texts(stamps_of(rows.stamps)), _texts(stamps_of(rows.born))
        days = _texts(stamps_of(rows.days * 86_400)[:, : len(DATE_SLOT)])
        for form, *values in zip(rows.forms.tolist(), ids, stamps, born, days, numbers, targets, strict=True):
            yield self.texts[form] % dict(zip(_NAMES, values, strict=True))


@cache
def forms(entity_type: str, seed: int) -> Forms:
    texts = [
        _fillable(form)
        for character in range(CHARACTERS)
        for form in _moods(entity_type, f"{seed}/moving/{entity_type}/{character}", seed, character)
    ]
    widths = {name.encode(): slot.encode() for slot, name in SLOTS.items()}
    lengths = np.array([len(text % widths) for text in texts], dtype=np.int64)
    stamped = np.array([entity_type != "Company" or n % UNSTAMPED_EVERY > 0 for n in range(CHARACTERS)])
    # Another seed than that of the world at rest, so that nobody takes one's entities for the other's.
    return Forms(texts, lengths, stamped, ENTITY_TYPES.index(entity_type) << 40 ^ seed ^ 0x5EED << 24)


@cache
def enterprise_ids(seed: int) -> list[str]:
    draw = Draw(f"{seed}/moving/enterprises")
    return [str(UUID(draw.uuid())) for _ in range(ENTERPRISES)]


@cache
def chain_id(seed: int) -> str:
    return Draw(f"{seed}/moving/chain").uuid()


def _moods(entity_type: str, name: str, seed: int, character: int) -> Iterator[dict[str, Any]]:
    draw = Draw(name)
    draw.enterprises, draw.chain = [enterprise_ids(seed)[character % ENTERPRISES]], chain_id(seed)
    basis = TEMPLATES[entity_type](draw) | _alive(entity_type)
    if entity_type != "LedgerEntry" and basis.get("CreatedUtc"):
        basis["CreatedUtc"] = BORN_SLOT
    if entity_type == "Company" and character % UNSTAMPED_EVERY == 0:
        basis["UpdatedUtc"] = None
    lasting = LASTING | {field for field, value in basis.items() if value == STAMP_SLOT} | {"UpdatedUtc", "PostingDate"}
    mood = basis
    for _ in range(MOODS):
        yield mood
        other = TEMPLATES[entity_type](draw) | _alive(entity_type)
        changes = {field for field in basis if field not in lasting and draw.chance(CHANGED_SHARE)}
        mood = basis | {field: other[field] for field in changes}
    merged = {"IsActive": False, "MergeTargetId": MERGED_SLOT, "ActivityState": "Deleted"}
    yield basis | {field: value for field, value in merged.items() if field in basis and entity_type in CHAIN_TYPES}


def _alive(entity_type: str) -> dict[str, Any]:
    if entity_type not in CHAIN_TYPES:
        return {}
    alive = {"IsActive": True, "MergeTargetId": None}
    return alive | {"ActivityState": "Active"} if entity_type == "Customer" else alive


def _fillable(entity: dict[str, Any]) -> bytes:
    text = render(entity).replace(b"%", b"%%")
    for slot, name in SLOTS.items():
        text = text.replace(slot.encode(), f"%({name})b".encode())
    return text + b"\n"


def _texts(characters: np.ndarray) -> list[bytes]:
    width = characters.shape[1]
    return np.ascontiguousarray(characters).view(f"S{width}").ravel().tolist()


_NAMES = tuple(name.encode() for name in SLOTS.values())
