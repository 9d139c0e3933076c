"""A stream that is given any inputs in any order."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.inputs import Added, Adopted
from streamer.model import ExportId
from tests.unit.core.life import Life
from tests.unit.core.lives import INPUTS

kinds = st.sampled_from([*INPUTS, "added", "ready", "published", "published", "published", "blocked", "retried"])
choices = st.lists(st.tuples(kinds, st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=60)


@given(choices)
def test_whatever_happens_cycles_only_grow_positions_never_go_back_and_ends_are_told_once(
    happenings: list[tuple[str, int, int, bool]],
) -> None:
    life = Life()
    for kind, records, blank, file_ended in happenings:
        event = INPUTS[kind]
        if kind == "published":
            event = life.a_block(records, blank, file_ended=file_ended)
        if isinstance(event, Added | Adopted):
            life.accepted += 1
            event = msgspec.structs.replace(event, export_id=ExportId(f"e{life.accepted}"))
        life.feed(event)
    remembered = life.checkpoint.snapshot
    assert len(set(life.completed)) == len(life.completed)
    assert (life.completed[-1] if life.completed else None) == (remembered.export_id if remembered else None)
    assert len(set(life.blocked)) == len(life.blocked)
