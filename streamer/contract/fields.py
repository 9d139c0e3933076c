"""What the fields of entities are made of, and which of them tell of a person.

What a newcomer would get wrong:

* An entity is open: fields that nobody knows yet are normal, and so are words that no list has. A list of known
  words goes into the schemas as ``x-extensible-enum``, which validates nothing.
* ``Id`` and its like are text: their format is told, not checked, because whoever reads them compares them only.
* Money is told as JSON numbers. Whoever reckons with it should read them as decimals.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, UnsetType

T = TypeVar("T")

Perhaps: TypeAlias = T | UnsetType | None
"""A field that may be null or not there at all."""

PERSONAL_DATA = "x-personal-data"
"""The keyword of the schemas that says in which way a field tells of a person."""


def known(*words: str) -> Meta:
    """The words that a field is known to hold; others may come at any time."""
    return Meta(extra_json_schema={"x-extensible-enum": list(words)})


def _tells_of_a_person(way: str) -> Meta:
    return Meta(extra_json_schema={PERSONAL_DATA: way})


PERSONAL = _tells_of_a_person("personal")
"""Of a person: name, address, birth, contact."""
SENSITIVE = _tells_of_a_person("sensitive")
"""Identifies a person officially, or hints at health, religion or disability."""
FREE_TEXT = _tells_of_a_person("free-text")
"""Written by people, who may write anything of anybody."""
LINK = _tells_of_a_person("link")
"""A pseudonym: leads to a person only by way of another entity, which is personal data all the same."""
CONTACT = _tells_of_a_person("contact")
"""Of a person who speaks for a company."""

Uuid = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Moment = Annotated[datetime, Meta(tz=True)]
"""``YYYY-MM-DDThh:mm:ssZ``; fractions of a second may occur."""
Day = date
Currency = Annotated[str, Meta(description="Three letters of ISO 4217.")]
PersonUuid = Annotated[Uuid, LINK]
Personal = Annotated[str, PERSONAL]
Sensitive = Annotated[str, SENSITIVE]
FreeText = Annotated[str, FREE_TEXT]
LinkToPerson = Annotated[str, LINK]
Contact = Annotated[str, CONTACT]

AccountType = Annotated[str, known("Company", "Customer")]
AccountingState = Annotated[str, known("Open", "Closed", "Inactive", "Canceled")]
Title = Annotated[str, known("Mister", "Miss", "Misses")]


class Part(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """An object within an entity. Its fields are written in Python's way and read in Mews'."""


class Entity(msgspec.Struct, frozen=True, gc=False, rename="pascal", kw_only=True):
    """What every line holds, whatever else it does."""

    id: Uuid
