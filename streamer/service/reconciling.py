"""A snapshot and what its topic says already: what is left out, which entities are gone, and their tombstones.

The table that this rests on is good for one session: it is read back to where the topic ended after the session's
producer had started, and whatever that producer commits since is put into it as it is gathered. Every session, and so
every restart, begins with a new one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta
from typing import Protocol

import msgspec
import numpy as np
import structlog

from streamer.core.checkpoint import Checkpoint
from streamer.core.comparing import Comparison
from streamer.core.differences import EVER, Budget, Table, Withholding, microseconds
from streamer.core.ending import topic_scope
from streamer.core.states import Publishing, Request, Share
from streamer.errors import StreamerError
from streamer.kafka.decoding import Slice, Source
from streamer.kafka.reading_back import Ends
from streamer.model import EntityType, ExportKind, StreamKey, Window
from streamer.service.ahead import Ends as Endings
from streamer.service.clock import Clock

log = structlog.get_logger()

AGE = timedelta(hours=1)
"""An entity that changed so shortly before the snapshot was asked for may not be in it yet."""

_LEDGER_SLACK = timedelta(days=2)
"""Entries of a day are published after it has begun, in whichever time zone."""

_FREE_SECONDS = 1.0


class LeftOffError(StreamerError):
    """What was begun is left for now, and nothing is wrong: the daemon stops, a session is lost, a signal has come."""


class TopicReader(Protocol):
    """Reads a topic back, as ``kafka.reading_back.TopicReader`` does."""

    async def ends(self, topic: str, partitions: int, *, since: int | None = None) -> Mapping[int, Ends]: ...

    def slices(self, topic: str, partition: int, ends: Ends, source: Source) -> AsyncGenerator[Slice, None]: ...


class ReconcileSettings(msgspec.Struct, frozen=True):
    """How a stream's snapshots are compared with its topic, if they are (``enabled``)."""

    enabled: bool
    topic: str
    source: Source
    headers: bool
    max_tombstone_share: float
    shared_keys: bool
    """Whether several connections may reach the same entities of this type."""
    shared_topic: bool
    """Whether another connection of this process writes to the topic."""
    at_least_once: bool


class Verdict(msgspec.Struct, frozen=True):
    """What is to become of the entities that are gone."""

    due: int = 0
    withheld: int = 0
    why: str = ""


class Reconciler:
    """Compares the exports of one stream with its topic. ``budget`` is the memory of all the process' tables."""

    def __init__(
        self,
        key: StreamKey,
        *,
        open_reader: Callable[[], AbstractAsyncContextManager[TopicReader]],
        settings: ReconcileSettings,
        budget: Budget,
        clock: Clock,
    ) -> None:
        self._key = key
        self._open_reader = open_reader
        self._settings = settings
        self._budget = budget
        self._clock = clock
        self._log = log.bind(connection=key.connection, entity_type=key.entity_type.value)
        self.current: Comparison | None = None
        """What was compared last, until it is dropped."""

    def drop(self) -> None:
        """Give back the memory of the current comparison."""
        if self.current is not None:
            self._budget.release(self.current.table)
            self.current = None

    def compares(self, state: Publishing) -> bool:
        """Whether the export is compared with its topic, as far as that is known before the topic is looked at."""
        if state.share is not None or state.position.file or state.position.offset:
            # It goes on as it has begun; without comparing where the topic was empty then.
            return state.share is not None
        # Ledger entries never change, and every window brings those of some days anew.
        suits = state.request.kind is ExportKind.SNAPSHOT or self._key.entity_type is EntityType.LEDGER_ENTRY
        return self._settings.enabled and state.request.changes_only and suits

    async def compare(
        self, endings: Endings, share: Share | None, partitions: int, *, window: Window | None = None
    ) -> Comparison:
        """Read back what the topic says of a share of the partitions, or of as many as there is memory for.

        With a ``window``, only what is about as young. It is the current one from then on, instead of the last. Raises
        ``KafkaUnavailableError``, ``LeftOffError``.
        """
        self.drop()
        share = share or Share()
        since = None
        if window is not None:
            since = int((window.start - _LEDGER_SLACK).timestamp() * 1000)
        started = self._clock.monotonic()
        async with self._open_reader() as reader:
            ends = await reader.ends(self._settings.topic, partitions, since=since)
            # Before the reader is closed, which takes a while where a broker is away: its memory has to be given back.
            self.current = comparison = await self._read_back(endings, reader, ends, share, partitions)
        self._log.info(
            "topic_read_back",
            entities=len(comparison.table),
            first=comparison.first,
            end=comparison.end,
            seconds=round(self._clock.monotonic() - started, 3),
        )
        return comparison

    async def _read_back(
        self, endings: Endings, reader: TopicReader, ends: Mapping[int, Ends], share: Share, partitions: int
    ) -> Comparison:
        waiting = False
        while True:
            table = Table()
            try:
                comparison = await self._fill(endings, reader, ends, table, share, partitions)
            except BaseException:
                self._budget.release(table)
                raise
            if comparison is not None:
                return comparison
            # Others have the memory for now. Nothing is held meanwhile, so nobody waits for us in turn.
            self._budget.release(table)
            if not waiting:
                self._log.info("waiting_for_memory", limit=self._budget.limit)
                waiting = True
            await self._clock.rest(_FREE_SECONDS)
            self._check_time(endings)

    async def _fill(
        self,
        endings: Endings,
        reader: TopicReader,
        ends: Mapping[int, Ends],
        table: Table,
        share: Share,
        partitions: int,
    ) -> Comparison | None:
        """Fill the table with a share, or with as much as there is memory for; None where others have all of it."""
        comparison = Comparison(table, first=share.first, end=share.end or partitions)
        for partition in range(comparison.first, comparison.end):
            if await self._take_back(endings, reader, ends[partition], comparison, partition):
                continue
            table.forget(partition)
            self._budget.take(table, table.size)
            if share.end is None and partition > share.first:
                comparison.end = partition
                break
            if self._budget.others(table):
                return None
            self._log.error("partition_not_compared", partition=partition, memory=self._budget.limit)
            comparison.too_large.add(partition)
        return comparison

    async def _take_back(
        self, endings: Endings, reader: TopicReader, ends: Ends, comparison: Comparison, partition: int
    ) -> bool:
        """Read a partition back; False where its table would grow too large."""
        table, settings = comparison.table, self._settings
        async with aclosing(reader.slices(settings.topic, partition, ends, settings.source)) as slices:
            async for some in slices:
                self._check_time(endings)
                take_back(table, partition, some)
                comparison.foreign += some.foreign
                if not self._budget.take(table, table.size):
                    return False
        return True

    def keep_within_memory(self, comparison: Comparison) -> None:
        """To be called at every block: what a snapshot brings for the first time makes the table larger."""
        table = comparison.table
        table.is_full = table.is_full or not self._budget.take(table, table.size)

    def verdict(self, checkpoint: Checkpoint, request: Request, share: Share, comparison: Comparison) -> Verdict:
        """What is to become of what is gone, once all lines of the last share have been gathered."""
        if request.kind is not ExportKind.SNAPSHOT:
            return Verdict()
        total = self.counted(request, share, comparison)
        last = checkpoint.snapshot
        why = Withholding(
            gone=total.gone,
            unseen=total.unseen,
            entities=total.entities,
            max_share=self._settings.max_tombstone_share,
            unreadable=comparison.unreadable,
            scope_changed=last is not None and topic_scope(last) != request.scope,
            scope_seen=last is not None and last.withheld_why == "scope_changed",
            shared_keys=self._settings.shared_keys and (self._settings.shared_topic or comparison.foreign > 0),
            at_least_once=self._settings.at_least_once,
            adopted=request.adopted,
            let_through=checkpoint.let_tombstones_through,
        ).why()
        if why:
            self._log.error("tombstones_withheld", reason=why, gone=total.gone, entities=total.entities)
            return Verdict(withheld=total.gone, why=why)
        return Verdict(due=total.gone)

    def counted(self, request: Request, share: Share, comparison: Comparison) -> Share:
        """The share that comes next, with all that is gone so far."""
        return Share(
            first=comparison.end,
            entities=share.entities + comparison.table.entities,
            unseen=share.unseen + comparison.table.gone_before(EVER),
            gone=share.gone + comparison.table.gone_before(must_be_known(request)),
        )

    async def keys_of_the_gone(
        self, endings: Endings, comparison: Comparison, *, before: int
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """Partition and key of each entity that is gone, once all of the snapshot's lines are seen; each once.

        Of those only that changed last ``before`` a moment, in microseconds (``must_be_known``).

        The table holds digests, so the keys come from the topic, which is read once more, as far as it takes. Raises
        ``KafkaUnavailableError``, ``LeftOffError``.
        """
        table, settings = comparison.table, self._settings
        partitions = [n for n in range(comparison.first, comparison.end) if table.gone_before(before, n)]
        if not partitions:
            return
        async with self._open_reader() as reader:
            ends = await reader.ends(settings.topic, comparison.end)
            for partition in partitions:
                async with aclosing(
                    reader.slices(settings.topic, partition, ends[partition], settings.source)
                ) as slices:
                    async for some in slices:
                        self._check_time(endings)
                        for place in np.flatnonzero(table.bury(partition, some.facts, before)).tolist():
                            yield partition, some.keys[place]
                        if not table.gone_before(before, partition):
                            break

    def _check_time(self, endings: Endings) -> None:
        if endings.any_set():
            raise LeftOffError("left off in the middle of reconciling")


def take_back(table: Table, partition: int, some: Slice) -> None:
    """Put records read back into the table."""
    if some.keys:
        table.take_back(partition, some.facts, timestamps=some.timestamps, tombstones=some.tombstones)


def must_be_known(request: Request) -> int:
    """What changed before this moment, in microseconds, must be in the snapshot, or it is gone."""
    # Mews' clock and the daemon's may disagree; both have written what is compared with this.
    asked_at = min(request.requested_at, request.server_time or request.requested_at)
    moment: int = microseconds([(asked_at - AGE).isoformat()])[0]
    return moment
