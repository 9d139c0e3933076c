"""The table of differences between a topic and a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest

from streamer.core import differences
from streamer.core.differences import UNTIMED, Budget, Table, Withholding, microseconds
from tests.unit.cases import cases
from tests.unit.core.tables import BASE, facts, judged, moment, take_back


@pytest.fixture(params=[2**19, 4], ids=["long runs", "short runs"], autouse=True)
def longest_run(request: pytest.FixtureRequest) -> Iterator[None]:
    with mock.patch.object(differences, "_LONGEST_RUN", request.param):
        yield


def test_what_is_seen_is_not_gone_and_its_line_is_judged_as_before() -> None:
    table = Table()
    take_back(table, [(b"a", b"x", 1, 0), (b"b", b"x", 1, 0)])
    table.see(0, facts([(b"a", b"other", None), (b"new", b"", None)]))
    assert table.gone_before(BASE + 5_000_000) == 1
    assert len(table) == 2
    assert judged(table, [(b"a", b"x", 1), (b"a", b"y", 2)]) == [False, True]


def test_partitions_have_nothing_to_do_with_one_another_and_one_can_be_forgotten() -> None:
    table = Table()
    take_back(table, [(b"a", b"x", 1, 0)], partition=3)
    take_back(table, [(b"b", b"x", 1, 0)], partition=4)
    assert judged(table, [(b"a", b"x", 1)], partition=4) == [True]
    table.forget(3)
    assert judged(table, [(b"a", b"x", 1)], partition=3) == [True]


def test_two_keys_that_share_64_bits_of_their_digest_are_not_taken_for_one_another() -> None:
    table = Table()
    take_back(table, [(b"a", b"x", 5, 0)])
    twin = facts([(b"twin", b"y", 1)])
    twin = differences.Facts(facts([(b"a", b"", None)]).keys, twin.checks, twin.values, twin.updated)
    # Published again and again, and never gone: nobody keeps the second of such a pair.
    assert table.judge(0, twin).tolist() == [True]
    assert table.judge(0, twin).tolist() == [True]
    assert judged(table, [(b"a", b"x", 5)]) == [False]
    assert len(table) == 1


def test_a_table_of_many_entities_takes_what_it_says() -> None:
    table = Table()
    for start in range(0, 4000, 1000):
        batch = [(b"%d" % n, b"x", 1) for n in range(start, start + 1000)]
        assert all(judged(table, batch))
        assert not any(judged(table, batch))
    assert len(table) == 4000
    columns = [
        column
        for partition in table._partitions.values()
        for run in partition.runs
        for column in (run.keys, run.checks, run.values, run.updated, run.flags)
    ]
    assert sum(column.nbytes for column in columns) == table.size == 4000 * differences.BYTES_PER_ENTITY


@cases(
    ("text", "expected"),
    [
        # to the second
        ("2026-03-01T00:00:01Z", BASE + 1_000_000),
        # with a fraction
        ("2026-03-01T00:00:01.25Z", BASE + 1_250_000),
        # finer than we keep
        ("2026-03-01T00:00:01.1234567Z", BASE + 1_123_456),
        # in another zone
        ("2026-03-01T02:00:01+02:00", BASE + 1_000_000),
        # nothing
        (None, UNTIMED),
        # no text
        (20260301, UNTIMED),
        # no moment
        ("yesterday", UNTIMED),
        # something that numpy knows
        ("todayZ", UNTIMED),
        # in no zone
        ("2026-03-01T00:00:01", UNTIMED),
        # a month alone
        ("2026-03", UNTIMED),
        # nonsense of the right shape
        ("2026-99-01T00:00:01Z", UNTIMED),
    ],
)
def test_moments_are_read_as_mews_writes_them_and_nothing_else_is(text: object, expected: int) -> None:
    assert microseconds([text]).tolist() == [expected]
    # Beside any other.
    assert microseconds([moment(2), text]).tolist() == [BASE + 2_000_000, expected]


@cases(
    ("withholding", "why"),
    [
        # few are gone
        (Withholding(unseen=0, gone=20, entities=10, max_share=0.05), ""),
        # one more than few
        (Withholding(unseen=0, gone=21, entities=10, max_share=0.05), "too_many"),
        # a share
        (Withholding(unseen=0, gone=50, entities=1000, max_share=0.05), ""),
        # more than a share
        (Withholding(unseen=0, gone=51, entities=1000, max_share=0.05), "too_many"),
        # let through
        (Withholding(unseen=0, gone=51, entities=60, max_share=0.05, let_through=True), ""),
        # a line that may be anybody
        (Withholding(1, 1, 1000, 0.05, unreadable=1, let_through=True), "unreadable_lines"),
        # another scope
        (Withholding(1, 1, 1000, 0.05, scope_changed=True), "scope_changed"),
        # another scope, and all too young
        (Withholding(0, 1, 1000, 0.05, scope_changed=True), "scope_changed"),
        # let through beforehand
        (Withholding(1, 1, 9, 0.05, scope_changed=True, let_through=True), "scope_changed"),
        # let through afterwards
        (Withholding(1, 1, 9, 0.05, scope_changed=True, scope_seen=True, let_through=True), ""),
        # shared keys
        (Withholding(1, 1, 1000, 0.05, shared_keys=True, let_through=True), "shared_keys"),
        # an export that a person has named
        (Withholding(1, 1, 1000, 0.05, adopted=True, let_through=True), "adopted"),
        # at least once
        (Withholding(1, 1, 1000, 0.05, at_least_once=True, let_through=True), "at_least_once"),
        # nothing is gone
        (Withholding(0, 0, 0, 0.05, unreadable=1, scope_changed=True, at_least_once=True), ""),
    ],
)
def test_tombstones_are_withheld(withholding: Withholding, why: str) -> None:
    assert withholding.why() == why


def test_tables_share_a_budget() -> None:
    budget, one, other = Budget(100), object(), object()
    assert budget.take(one, 60)
    assert not budget.others(one)
    assert not budget.take(other, 50)
    assert budget.take(other, 40)
    assert budget.take(one, 50)
    assert budget.others(one)
    budget.release(other)
    assert budget.take(one, 100)
    assert not budget.others(one)
