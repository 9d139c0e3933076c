"""However many replicas come and go, the shards are spread over them evenly and move no more than they must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.core.spreading import spread
from streamer.model import Shard

SHARDS = [Shard(number) for number in range(16)]
shards = st.sets(st.sampled_from(SHARDS))
helds = st.dictionaries(st.sampled_from("abcdefgh"), shards, min_size=1)


def numbers_of(found: dict[str, list[Shard]], some: set[Shard]) -> list[int]:
    return sorted(len(some.intersection(given)) for given in found.values())


@given(busy=shards, held=helds)
def test_each_shard_has_one_member_and_busy_ones_and_others_are_spread_evenly(
    busy: set[Shard], held: dict[str, set[Shard]]
) -> None:
    found = spread(SHARDS, busy, held)
    assert sorted(shard for given in found.values() for shard in given) == SHARDS
    assert set(found) == set(held)
    for some in (busy, set(SHARDS) - busy):
        fewest, *_, most = [*numbers_of(found, some), numbers_of(found, some)[-1]]
        assert most - fewest <= 1
    again = spread(SHARDS, busy, found)
    assert again == found, "nothing moves where nothing changed"


@given(busy=shards, members=st.integers(1, 8), data=st.data())
def test_who_leaves_moves_only_what_was_its_own(busy: set[Shard], members: int, data: st.DataObject) -> None:
    before = spread(SHARDS, busy, {f"m{number}": () for number in range(members + 1)})
    left = data.draw(st.sampled_from(sorted(before)))
    after = spread(SHARDS, busy, {member: held for member, held in before.items() if member != left})
    for member, given_now in after.items():
        assert set(before[member]) <= set(given_now)


@given(busy=shards, members=st.integers(1, 8))
def test_who_joins_takes_its_share_and_nothing_moves_between_the_others(busy: set[Shard], members: int) -> None:
    before = spread(SHARDS, busy, {f"m{number}": () for number in range(members)})
    after = spread(SHARDS, busy, {**before, "new": ()})
    for member, held in before.items():
        assert set(after[member]) <= set(held)
