"""Makes the tombstone of an entity that is to be erased, and what the checkpoint keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from streamer.core.checkpoint import Checkpoint, Erased
from streamer.core.erasing import MOST_ERASED, Erasure, erasure_id, why_unknowable
from streamer.core.partitioner import partition_of
from streamer.core.records import Header, tombstone_headers
from streamer.core.signals import Erase, SignalError
from streamer.model import StreamKey


class Tombstone(msgspec.Struct, frozen=True):
    """A tombstone to be written, and whom the stream keeps out from then on."""

    topic: str
    partition: int
    partitions: int
    key: bytes
    headers: list[Header]
    erased: Mapping[str, Erased]


class Erasing:
    """Erases entities of one stream. ``erasure`` is None where the settings have no key for it."""

    def __init__(
        self, key: StreamKey, *, topic: str, topic_partitions: int, headers: bool, erasure: Erasure | None
    ) -> None:
        self._key = key
        self._topic = topic
        self._topic_partitions = topic_partitions
        self._headers = headers
        self._erasure = erasure

    def tombstone(self, checkpoint: Checkpoint, signal: Erase, *, at: int, now: datetime) -> Tombstone:
        """What the signal at this offset wants written. Raises ``SignalError``, which names nobody."""
        if self._erasure is None:
            raise SignalError("exports.erasure_key is not set, by which the erased are known")
        if why := why_unknowable(checkpoint, self._erasure):
            raise SignalError(why)
        if len(checkpoint.erased) >= MOST_ERASED:
            raise SignalError(f"{MOST_ERASED} entities are kept out already; erase them at Mews")
        id_ = signal.id.encode()
        partitions = checkpoint.partitions or self._topic_partitions
        headers = tombstone_headers(cause=erasure_id(at), stream=self._key, key=id_, headers=self._headers)
        return Tombstone(
            topic=self._topic,
            partition=partition_of(id_, partitions),
            partitions=partitions,
            key=id_,
            headers=headers,
            erased={self._erasure.hash(id_): Erased(at=now, by=self._erasure.mark)},
        )
