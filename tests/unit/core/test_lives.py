"""Whole lives of streams, with whatever happens in whatever order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.checkpoint import Checkpoint, Completed
from streamer.core.inputs import Added, Adopted, Due, Input, Published, Ready
from streamer.core.lifecycle import LifecycleError, transition
from streamer.core.states import Counts, Idle, PartitionCounts, Position, Publishing, State
from streamer.model import ExportId
from tests.unit.core.lives import FILES, INPUTS, NOW, PUBLISHING, REQUESTED, STREAM


class Life:
    """A stream fed with inputs; what it tells and how it moves is watched."""

    def __init__(self) -> None:
        self.checkpoint = Checkpoint()
        self.now = REQUESTED
        self.completed: list[str] = []
        self.blocked: list[int] = []
        self.accepted = 0
        self.served = Counts()
        self.ends: dict[int, int] = {}

    def feed(self, event: Input) -> None:
        """Whatever is possible; the rest must leave no trace."""
        before, self.now = self.checkpoint, self.now + timedelta(minutes=1)
        try:
            outcome = transition(STREAM, before, event, now=self.now)
        except LifecycleError:
            return
        self.checkpoint = outcome.checkpoint
        self.check_move(before.state, self.checkpoint.state, event)
        assert self.checkpoint.cycle == before.cycle + isinstance(event, Due)
        for told in outcome.events:
            if told.name == "export_completed":
                self.completed.append(told.body["export_id"])
                self.check_account(told.body)
            if told.name == "export_blocked":
                self.blocked.append(self.checkpoint.cycle)

    def check_move(self, before: State, after: State, event: Input) -> None:
        if isinstance(before, Publishing) and isinstance(after, Publishing):
            reached, now = before.position, after.position
            assert (reached.file, reached.offset, reached.line) <= (now.file, now.offset, now.line)
            assert before.request == after.request
            for partition, counts in before.partitions.items():
                assert counts.end <= after.partitions[partition].end
                assert counts.start == after.partitions[partition].start
        if isinstance(event, Published):
            self.served = self.served + event.counts
        if isinstance(event, Ready):
            self.served = Counts()

    def check_account(self, body: Mapping[str, Any]) -> None:
        assert body["lines"] == body["records"] + body["unchanged"] + body["dead_letters"] + body["blank"]
        assert body["records"] == sum(counts.records for counts in body["partitions"].values())
        assert {name: body[name] for name in ("lines", "records", "dead_letters", "blank")} == {
            name: getattr(self.served, name) for name in ("lines", "records", "dead_letters", "blank")
        }

    def a_block(self, records: int, blank: int, *, file_ended: bool) -> Published:
        """A block that goes on where the stream is."""
        state = self.checkpoint.state
        at, files = (state.position, state.files) if isinstance(state, Publishing) else (Position(), FILES)
        start = self.ends.get(records, 0)
        self.ends[records] = start + records + 1
        partitions = {records: PartitionCounts(records, 0, start, start + records, "0" * 16)} if records else {}
        moved = msgspec.structs.replace(at, offset=at.offset + 10 * records + blank, line=at.line + records + blank)
        return Published(
            position=Position(file=at.file + 1) if file_ended else moved,
            counts=Counts(size=10 * records + blank, lines=records + blank, records=records, blank=blank),
            partitions=partitions,
            topic="mews.bill",
            topic_partitions=12,
            file_ended=file_ended,
            last=file_ended and at.file + 1 >= files.count,
        )


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


def test_a_block_below_what_was_published_tells_that_the_topic_was_made_anew_and_everything_begins_anew() -> None:
    remembered = Completed(export_id=ExportId("e0"), requested_at=REQUESTED, completed_at=REQUESTED, counts=Counts())
    before = Checkpoint(
        state=PUBLISHING, cycle=4, partitions=12, ends={"1": 8, "2": 5}, snapshot=remembered, window=remembered
    )
    life = Life()
    life.ends = {2: 4}
    block = life.a_block(2, 0, file_ended=False)
    outcome = transition(STREAM, before, block, now=NOW)
    after = outcome.checkpoint
    assert after.state == Idle()
    assert (after.partitions, after.ends, after.snapshot, after.window, after.failures) == (None, {}, None, None, 1)
    assert [event.name for event in outcome.events] == ["export_failed"]
    assert after.error is not None
    assert after.error.message == outcome.events[0].body["reason"]
    assert "partition 2" in after.error.message
    life.ends = {2: 5}
    following = transition(STREAM, before, life.a_block(2, 0, file_ended=False), now=NOW).checkpoint
    assert following.ends == {"1": 8, "2": 7}


def test_a_blockage_of_the_next_cycle_is_told_again() -> None:
    life = Life()
    a_life: list[Input] = [
        INPUTS["due"],
        INPUTS["blocked"],
        INPUTS["retried"],
        INPUTS["blocked"],
        INPUTS["added"],
        INPUTS["ended"],
        INPUTS["due"],
        INPUTS["blocked"],
        INPUTS["refused"],
        INPUTS["looked at"],
        INPUTS["blocked"],
    ]
    for event in a_life:
        life.feed(event)
    assert life.blocked == [1, 2]
