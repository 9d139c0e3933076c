"""The words of the project: spelling, identity, and what they keep to themselves."""

from __future__ import annotations

import pytest

from streamer.model import (
    PUBLIC_ENTITY_TYPES,
    ConnectionName,
    EntityType,
    ExportFile,
    Link,
    Secret,
    StreamKey,
)
from tests.unit.cases import cases

LINK = "https://blobs.example.com/exports/part-0001.jsonl?sig=canary/with?more"


@cases(
    ("entity_type", "slug"),
    [
        (EntityType.BILL, "bill"),
        (EntityType.ORDER_ITEM, "order-item"),
        (EntityType.AVAILABILITY_ADJUSTMENT, "availability-adjustment"),
    ],
)
def test_a_type_is_spelt_with_dashes_in_a_topics_name(entity_type: EntityType, slug: str) -> None:
    assert entity_type.slug == slug


def test_slugs_are_unique() -> None:
    assert len({t.slug for t in EntityType}) == len(EntityType)


def test_nine_types_are_public_and_the_beta_one_is_not() -> None:
    assert len(PUBLIC_ENTITY_TYPES) == 9
    assert EntityType.LEDGER_ENTRY not in PUBLIC_ENTITY_TYPES


@cases("entity_type", list(EntityType))
def test_a_stream_key_survives_being_written_and_read(entity_type: EntityType) -> None:
    key = StreamKey(ConnectionName("alpine-hotels"), entity_type)
    assert str(key) == f"alpine-hotels/{entity_type.value}"
    assert StreamKey.parse(str(key)) == key
    assert key.source == "/mews/alpine-hotels"


@cases("text", ["", "alpine", "alpine/", "alpine/bill", "alpine/Bill/x", "Alpine/Bill", "/Bill"])
def test_text_that_names_no_stream_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"EntityType|name of a connection"):
        StreamKey.parse(text)


def test_a_secret_shows_itself_to_reveal_alone() -> None:
    secret = Secret("canary")
    assert secret.reveal() == "canary"
    for text in (repr(secret), str(secret), f"{secret}", "%s" % secret, repr([secret]), repr({"k": secret})):  # noqa: UP031
        assert "canary" not in text


def test_secrets_are_equal_by_what_they_hide() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_link_is_known_by_the_last_segment_of_its_path() -> None:
    file = ExportFile(Link(LINK), 12)
    assert file.name == "part-0001.jsonl"
    assert file.link.reveal() == LINK
    assert "canary" not in repr(file)
    assert "canary" not in f"{file.link}"


def test_links_are_equal_by_their_whole_url() -> None:
    assert Link(LINK) == Link(LINK)
    assert Link(LINK) != Link(LINK + "x")
    assert len({Link(LINK), Link(LINK)}) == 1
