"""A table of differences, fed in few words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.core import differences
from streamer.core.differences import Table, facts_of, microseconds, value_digest

HOUR = 3600


def moment(second: int | None) -> str | None:
    return None if second is None else f"2026-03-01T{second // HOUR:02}:{second // 60 % 60:02}:{second % 60:02}Z"


BASE = int(microseconds([moment(0)])[0])
Line = tuple[bytes, bytes, int | None]
"""Key, value, and second of ``UpdatedUtc``."""


def judged(table: Table, batch: Sequence[Line], partition: int = 0) -> list[bool]:
    found: list[bool] = table.judge(partition, facts(batch)).tolist()
    return found


def facts(batch: Sequence[Line]) -> differences.Facts:
    digests = [value_digest(key, value) for key, value, _ in batch]
    return facts_of([key for key, _, _ in batch], digests, [moment(updated) for _, _, updated in batch])


def take_back(table: Table, batch: Sequence[tuple[bytes, bytes | None, int | None, int]], partition: int = 0) -> None:
    table.take_back(
        partition,
        facts([(key, value or b"", updated if value else None) for key, value, updated, _ in batch]),
        timestamps=np.array([BASE + t * 1_000_000 for *_, t in batch], dtype=np.int64),
        tombstones=np.array([value is None for _, value, _, _ in batch], dtype=bool),
    )
