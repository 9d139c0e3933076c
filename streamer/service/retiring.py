"""Retires a stream: tombstones for all that it has in its topic, in blocks, each committed with its checkpoint.

Killed in between, it begins anew: the topic is read back with the tombstones that are there already, and what is alive
still is exactly what is still due.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import msgspec

from streamer.core.checkpoint import Checkpoint
from streamer.core.comparing import Comparison
from streamer.core.differences import EVER
from streamer.core.events import Outcome
from streamer.core.inputs import Entombed
from streamer.core.lifecycle import transition
from streamer.core.retiring import retirement_id
from streamer.core.states import Retiring, Share
from streamer.errors import RetriableError
from streamer.model import StreamKey
from streamer.service.ahead import Ends
from streamer.service.burying import TombstoneBlock, Tombstones, commit_tombstones, tombstones_due
from streamer.service.clock import Clock
from streamer.service.reconciling import Reconciler
from streamer.service.session import Session


class Retirement:
    """Writes the tombstones of one stream. A block holds ``block_bytes`` of keys and headers."""

    def __init__(
        self, key: StreamKey, *, reconciler: Reconciler, headers: bool, block_bytes: int, clock: Clock
    ) -> None:
        self._key = key
        self._reconciler = reconciler
        self._headers = headers
        self._block_bytes = block_bytes
        self._clock = clock

    async def write(
        self, session: Session, ends: Ends, checkpoint: Checkpoint, state: Retiring, partitions: int
    ) -> Checkpoint:
        """Write all that are still due; the last block of them is known by hindsight. The checkpoint reached.

        ``partitions`` is how many the topic has, 0 where there is none. Raises ``LeftOffError``, ``ProducerLostError``,
        ``RetriableError``.
        """
        in_hand = None
        try:
            async with aclosing(self._tombstones(session, ends, state, partitions)) as tombstones:
                async for block in tombstones:
                    if in_hand is not None:
                        checkpoint = await self._commit(session, checkpoint, state.topic, in_hand)
                    in_hand = block
        finally:
            self._reconciler.drop()
        return await self._commit(session, checkpoint, state.topic, in_hand, last=True)

    def _tombstones(
        self, session: Session, ends: Ends, state: Retiring, partitions: int
    ) -> AsyncGenerator[Tombstones, None]:
        """A stream that is taken out is one whose snapshot would hold nothing."""

        async def compare(first: int) -> Comparison:
            comparison = await self._reconciler.compare(ends, Share(first=first), partitions)
            if comparison.too_large:
                raise RetriableError(f"a partition of {state.topic} needs more than exports.reconcile_memory")
            return comparison

        block = TombstoneBlock(session, self._key, cause=retirement_id(state.signal), headers=self._headers)
        keys_of = partial(self._reconciler.keys_of_the_gone, ends, before=EVER)
        return tombstones_due(block, compare, keys_of, partitions=partitions, block_bytes=self._block_bytes)

    async def _commit(
        self, session: Session, checkpoint: Checkpoint, topic: str, block: Tombstones | None, *, last: bool = False
    ) -> Checkpoint:
        def decide(entombed: Entombed) -> Outcome:
            entombed = msgspec.structs.replace(entombed, last=last)
            return transition(self._key, checkpoint, entombed, now=self._clock.now())

        return await commit_tombstones(session, self._key, topic, block, decide)
