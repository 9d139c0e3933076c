"""Blocks of a reconciling snapshot: lines that the topic says already are left out, and counted.

Lines are judged a run at a time, in columns: by themselves each would cost ten times as much. A table may be too large
for all partitions at once. Then the files are gathered several times over, each time for a *share* of the partitions;
what belongs to no partition (blank lines, lines without an Id) goes with the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from streamer.core.blocks import B, Blocks, Counted, Cut, FileBlocks, FileToGather, Preparation, digest_of
from streamer.core.differences import Array, Facts, Table, facts_of
from streamer.core.lines import Lines, LongLine, is_blank, is_utf8
from streamer.core.partitioner import SEED, murmur2
from streamer.core.records import UNREADABLE, identify


class Dated(msgspec.Struct, frozen=True, gc=False):
    """What comparing must know of an entity; ``updated`` is whatever stands there."""

    id: str = msgspec.field(name="Id")
    updated: object = msgspec.field(name="UpdatedUtc", default=None)


_dated: Final = msgspec.json.Decoder(Dated).decode
"""Like ``records.identify``, and raises for the same lines."""


Judge = Callable[[int, Facts], Array]
"""Says which lines of a partition, told by their facts, are to be published; in their order."""


class Comparison:
    """The comparison of a share of the partitions, ``first`` to ``end`` (exclusive), with what the topic says.

    Of ``too_large`` partitions nothing is known: their lines are all published, and none of their entities is gone.
    """

    def __init__(self, table: Table, *, first: int, end: int) -> None:
        self.table = table
        self.first = first
        self.end = end
        self.too_large: set[int] = set()
        self.foreign = 0
        """Records in the topic that are of somebody else."""
        self.unreadable = 0
        """Lines without a readable Id so far: each may have been any entity."""

    def judge(self, partition: int, facts: Facts) -> Array:
        """A ``Judge`` of lines that are to be published."""
        if partition in self.too_large:
            return np.ones(len(facts), dtype=bool)
        return self.table.judge(partition, facts)

    def see(self, partition: int, facts: Facts) -> Array:
        """A ``Judge`` of lines that have been published: they are seen, and that is all."""
        self.table.see(partition, facts)
        return np.zeros(len(facts), dtype=bool)


class Compared(Blocks[B]):
    """``Blocks`` that leave out what ``judge`` refuses, and what belongs to other shares; however they are gathered."""

    _comparison: Comparison
    _judge: Judge

    def _begin(self, start: Cut) -> None:
        super()._begin(start)
        self._elsewhere = 0

    def _is_with_first(self) -> bool:
        """Whether what belongs to no partition is gathered this time."""
        return self._comparison.first == 0

    def _is_unreadable(self) -> bool:
        """Count a line without a readable Id; whether it is to be set aside now, or goes with another share."""
        self._comparison.unreadable += 1
        self._elsewhere += not self._is_with_first()
        return self._is_with_first()

    def _is_of_share(self, partition: int) -> bool:
        """Whether a line is gathered this time; it is counted if not."""
        of_share = self._comparison.first <= partition < self._comparison.end
        self._elsewhere += not of_share
        return of_share

    def _see_alone(self, partition: int, key: bytes) -> None:
        """A line can't be published, but its entity is there."""
        self._comparison.see(partition, facts_of([key], [0], [None]))


class ComparedBlocks(Compared[B], FileBlocks[B]):
    """``Compared`` in Python."""

    def __init__(
        self,
        file: FileToGather,
        new_batches: Callable[[], B],
        *,
        comparison: Comparison,
        judge: Judge,
        preparation: Preparation | None = None,
    ) -> None:
        self._comparison = comparison
        self._judge = judge
        super().__init__(file, new_batches, preparation=preparation)

    def _begin(self, start: Cut) -> None:
        super()._begin(start)
        self._unchanged = 0

    def _counted(self) -> Counted:
        counted = super()._counted()
        return msgspec.structs.replace(counted, unchanged=self._unchanged, elsewhere=self._elsewhere)

    def _gather_runs(self, runs: Sequence[Lines | LongLine]) -> None:
        for run in runs:
            if isinstance(run, Lines) or self._is_unreadable():
                super()._gather_runs((run,))

    def _gather(self, run: Lines) -> None:
        found = _Found()
        prepare = None if self._preparation is None else self._preparation.prepare
        next_offset = run.offset
        for number, raw in enumerate(run.raw, run.line):
            offset = next_offset
            next_offset += len(raw) + 1
            line = raw[:-1] if run.has_returns and raw.endswith(b"\r") else raw
            key, updated = key_and_update(line)
            if not key:
                self._gather_keyless(line, number, offset)
                continue
            partition = (murmur2(key, SEED) & 0x7FFFFFFF) % self._partitions
            if not self._is_of_share(partition):
                continue
            if len(key) + len(line) > self._origin.record_room or not (run.is_utf8 or is_utf8(line)):
                self._see_alone(partition, key)
                self._set_aside(line, number, offset)
                continue
            if prepare is not None:
                prepared = prepare(line)
                if not isinstance(prepared, bytes) or len(key) + len(prepared) > self._origin.record_room:
                    self._see_alone(partition, key)
                    self._set_prepared_aside(line, prepared, number, offset)
                    continue
                line = prepared
            found.add(partition, key, line, offset, updated)
        self._gather_found(found)

    def _gather_keyless(self, line: bytes, number: int, offset: int) -> None:
        if not is_blank(line):
            if self._is_unreadable():
                self._set_aside(line, number, offset)
        elif self._is_with_first():
            self._blank += 1
        else:
            self._elsewhere += 1

    def _gather_found(self, found: _Found) -> None:
        """Publish what is news. Partitions are independent, so only within each the order matters."""
        append, headers_at = self._batches.append, self._origin.encoded_headers
        for partition, places in found.by_partition().items():
            keys = [found.keys[i] for i in places]
            values = [found.digests[i] for i in places]
            news = self._judge(partition, facts_of(keys, values, [found.updated[i] for i in places]))
            published = 0
            for i, key, digest, is_news in zip(places, keys, values, news.tolist(), strict=True):
                if is_news:
                    published += 1
                    self._digests[partition] += digest
                    append(partition, key, found.lines[i], headers_at(found.offsets[i]))
            self._records[partition] += published
            self._unchanged += len(places) - published


class _Found:
    """Lines of a run that could become records."""

    def __init__(self) -> None:
        self.partitions: list[int] = []
        self.keys: list[bytes] = []
        self.lines: list[bytes] = []
        self.offsets: list[int] = []
        self.updated: list[object] = []
        self.digests: list[int] = []

    def add(self, partition: int, key: bytes, line: bytes, offset: int, updated: object) -> None:
        self.partitions.append(partition)
        self.keys.append(key)
        self.lines.append(line)
        self.offsets.append(offset)
        self.updated.append(updated)
        self.digests.append(digest_of(key, line))

    def by_partition(self) -> dict[int, list[int]]:
        """The places of each partition's lines."""
        places: dict[int, list[int]] = {}
        for i, partition in enumerate(self.partitions):
            places.setdefault(partition, []).append(i)
        return places


def key_and_update(line: bytes) -> tuple[bytes, object]:
    """The key of a line, empty where there is none, and what stands under ``UpdatedUtc``, if it can be read."""
    try:
        entity = _dated(line)
        return entity.id.encode(), entity.updated
    except UNREADABLE:
        pass
    return key_of(line), None


def key_of(line: bytes) -> bytes:
    """The key of a line, empty where there is none."""
    try:
        return identify(line).id.encode()
    except UNREADABLE:
        return b""


def updated_of(value: bytes) -> object:
    """What a record's value has under ``UpdatedUtc``; None where nothing can be read."""
    try:
        return _dated(value).updated
    except UNREADABLE:
        return None
