"""A stream that is fed with inputs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from streamer.core.checkpoint import Checkpoint
from streamer.core.inputs import Due, Input, Published, Ready
from streamer.core.lifecycle import LifecycleError, transition
from streamer.core.states import Counts, PartitionCounts, Position, Publishing, State
from tests.unit.core.lives import FILES, REQUESTED, STREAM


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
