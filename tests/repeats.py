"""What a consumer makes of topics in which records may repeat: one copy of each ``ce_id``, and how many there were.

Written without the product, as the verifier that it feeds is.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.facts import Published, Record


@dataclass(frozen=True)
class Consumed:
    """One copy of each, in ``published``, and the number of the others."""

    published: Published
    records: int
    """Repeated records and dead letters."""
    events: int
    stale: int
    """Checkpoints of a term that was over."""


def without_repeats(published: Published, *, prefix: str) -> Consumed:
    """Drop repeats by ``ce_id``, and the checkpoints that a reader ignores.

    All copies of a record have to be the same. Kept is the last one before the ``end`` that the newest
    ``export_completed`` tells: the one that was counted. An event that repeats may tell of other offsets; the last one
    is the one that a checkpoint followed.
    """
    events = f"{prefix}.exports"
    ends = _ends(published.records[events])
    kept: dict[str, Sequence[Record]] = {}
    repeats = {"records": 0, "events": 0, "stale": 0}
    for topic, records in published.records.items():
        if topic == f"{prefix}.checkpoints":
            kept[topic] = prevailing = _prevailing(records)
            repeats["stale"] += len(records) - len(prevailing)
            continue
        kept[topic] = _one_of_each(records, {} if topic in {events, f"{prefix}.dead-letters"} else ends)
        repeats["events" if topic == events else "records"] += len(records) - len(kept[topic])
        if topic != events:
            _check_copies(records)
    return Consumed(Published(kept, published.partitions), **repeats)


def _one_of_each(records: Sequence[Record], ends: Mapping[tuple[str, int], int]) -> list[Record]:
    chosen: dict[str, Record] = {}
    for record in records:
        ce_id = record.header("ce_id")
        end = ends.get((ce_id.partition("/")[0], record.partition))
        if ce_id not in chosen or end is None or record.offset < end:
            chosen[ce_id] = record
    return sorted(chosen.values(), key=lambda record: (record.partition, record.offset))


def _check_copies(records: Sequence[Record]) -> None:
    first: dict[str, Record] = {}
    for record in records:
        copy = first.setdefault(record.header("ce_id"), record)
        same = (record.partition, record.key, record.value, record.headers)
        assert same == (copy.partition, copy.key, copy.value, copy.headers), f"{record} is no copy of {copy}"


def _ends(events: Sequence[Record]) -> dict[tuple[str, int], int]:
    """Where completed exports end, by export and partition."""
    ends: dict[tuple[str, int], int] = {}
    for record in events:
        event: dict[str, Any] = json.loads(record.value or b"")
        if event["event"] == "export_completed":
            ends |= {(event["export_id"], int(n)): part["end"] for n, part in event["partitions"].items()}
    return ends


def _prevailing(records: Sequence[Record]) -> list[Record]:
    """Without those of an earlier term, and of those that only say the same again, the first."""
    kept: list[Record] = []
    newest: dict[bytes | None, dict[str, Any]] = defaultdict(lambda: {"term": 0, "owner": None, "state": None})
    for record in records:
        found, before = json.loads(record.value or b"{}"), newest[record.key]
        if found["term"] < before["term"] or (found["term"] == before["term"] and found["owner"] != before["owner"]):
            continue
        newest[record.key] = found
        if found["state"] != before["state"]:
            kept.append(record)
    return kept
