"""Whole lives of streams, with whatever happens in whatever order."""

from __future__ import annotations

from streamer.core.checkpoint import Checkpoint, Completed
from streamer.core.inputs import Input
from streamer.core.lifecycle import transition
from streamer.core.states import Counts, Idle
from streamer.model import ExportId
from tests.unit.core.life import Life
from tests.unit.core.lives import INPUTS, NOW, PUBLISHING, REQUESTED, STREAM


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
