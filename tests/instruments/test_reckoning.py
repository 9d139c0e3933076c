"""The reckoning is able to fail: every kind of wrong topic is told from the right one."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.facts import Record
from tests.reckoning import backwards, by_id, compacted, differences, none_of, untimely

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRUTH = by_id([b'{"Id":"a","n":2}', b'{"Id":"b","n":1}'])


def record(offset: int, key: str, value: bytes | None, ce_id: str = "e1/0/0", partition: int = 0) -> Record:
    return Record("t", partition, offset, key.encode(), value, (("ce_id", ce_id.encode()),))


RIGHT = [
    record(0, "a", b'{"Id":"a","n":1}'),
    record(1, "b", b'{"Id":"b","n":1}'),
    record(2, "c", b'{"Id":"c","n":1}'),
    record(3, "c", None, "e2/gone/c"),
    record(4, "a", b'{"Id":"a","n":2}'),
]
MOMENTS = {"e1": NOON, "e2": NOON + timedelta(hours=1)}


def test_a_topic_in_step_has_no_differences() -> None:
    assert list(differences(RIGHT, TRUTH)) == []
    assert list(untimely(RIGHT, {"c": NOON}, MOMENTS)) == []
    none_of([])


@pytest.mark.parametrize(
    ("records", "told"),
    [
        (RIGHT[:1], "b is missing"),
        (RIGHT[:4], "a is not the newest version"),
        (RIGHT[:3] + RIGHT[4:], "c is gone, and"),
        ([*RIGHT, record(5, "b", None, "e2/gone/b")], "b is alive, and"),
        ([*RIGHT, record(5, "a", b'{"Id":"a","n":1}')], "a is not the newest version"),
        ([*RIGHT, record(5, "d", b'{"Id":"d"}')], "d is gone, and"),
    ],
)
def test_every_difference_is_told(records: list[Record], told: str) -> None:
    assert any(told in difference for difference in differences(records, TRUTH))
    with pytest.raises(AssertionError, match=told):
        none_of(differences(records, TRUTH))


@pytest.mark.parametrize(
    ("deleted", "ce_id"),
    [
        ({}, "e2/gone/c"),
        ({"c": NOON + timedelta(hours=2)}, "e2/gone/c"),
        ({"c": NOON}, "e9/gone/c"),
        ({"c": NOON}, "e2/gone/x"),
        ({"c": NOON}, "e2/0/100"),
    ],
)
def test_a_tombstone_too_early_or_of_nobodys_making_is_told(deleted: dict[str, datetime], ce_id: str) -> None:
    assert len(list(untimely([record(3, "c", None, ce_id)], deleted, MOMENTS))) == 1


def test_a_step_back_in_time_is_told_within_a_source_only() -> None:
    def version(offset: int, hour: int, source: str) -> Record:
        value = f'{{"Id":"a","UpdatedUtc":"2026-03-01T{hour:02}:00:00Z"}}'.encode()
        return Record("t", 0, offset, b"a", value, (("ce_source", source.encode()),))

    other = [version(0, 12, "/mews/north"), version(1, 11, "/mews/south")]
    assert list(backwards(other)) == []
    assert list(backwards([*other, record(2, "a", None), version(3, 12, "/mews/north")])) == []
    assert len(list(backwards([*other, version(2, 11, "/mews/north")]))) == 1


def test_a_key_lives_in_one_partition() -> None:
    with pytest.raises(AssertionError, match="one key"):
        compacted([record(0, "a", b"1"), record(0, "a", b"2", partition=1)])
