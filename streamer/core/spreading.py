"""Which member of a group gets which shards: those with streams evenly, the others too, and each stays if it can.

Counting shards alone would not do: of 16 shards with six streams among them, one replica may well be given all that
have work and the other one the rest, and it stays like that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from streamer.model import Shard


def spread(
    shards: Collection[Shard], busy: Collection[Shard], held: Mapping[str, Collection[Shard]]
) -> dict[str, list[Shard]]:
    """All ``shards``, by member, in ascending order.

    ``held`` has what each member held last, in the order in which they are believed: of two that name the same shard,
    the first one has it. The numbers of ``busy`` shards differ by one at most, and so do those of the others.
    """
    given: dict[str, list[Shard]] = {member: [] for member in held}
    for part in (sorted(set(shards) & set(busy)), sorted(set(shards) - set(busy))):
        for member, some in _evenly(part, held, loads=given).items():
            given[member] += some
    return {member: sorted(some) for member, some in given.items()}


def _evenly(
    shards: list[Shard], held: Mapping[str, Collection[Shard]], *, loads: Mapping[str, Collection[Shard]]
) -> dict[str, list[Shard]]:
    """``loads`` is what they have besides: who has less is the first to be given one more."""
    free = set(shards)
    given: dict[str, list[Shard]] = {}
    for member, last in held.items():
        given[member] = sorted(free.intersection(last))
        free.difference_update(last)

    def load(member: str) -> tuple[int, int, str]:
        return len(given[member]), len(loads[member]), member

    for shard in sorted(free):
        given[min(given, key=load)].append(shard)
    while len(given[most := max(given, key=load)]) > len(given[least := min(given, key=load)]) + 1:
        given[least].append(given[most].pop())
    return given
