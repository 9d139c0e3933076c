"""Whether a compacted topic says the same as its source, and never said of anybody living that he is gone.

Plain values in, differences out, so that doctored ones can show that it is able to fail.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from tests.facts import Record, id_of

SHOWN = 8
"""So many differences are told in full; the rest is counted."""


def compacted(records: Iterable[Record]) -> dict[bytes, Record]:
    """What is left of a topic's records, in the order of their offsets, when only the newest of each key is kept."""
    newest: dict[bytes, Record] = {}
    for record in records:
        assert record.key is not None, f"{record} has no key"
        before = newest.get(record.key)
        assert before is None or before.partition == record.partition, f"{record} and {before} have one key"
        newest[record.key] = record
    return newest


def by_id(lines: Iterable[bytes]) -> dict[bytes, bytes]:
    """The lines of a data set by the Id of their entities."""
    return {(id_of(line) or "").encode(): line for line in lines}


def differences(records: Iterable[Record], truth: Mapping[bytes, bytes]) -> Iterator[str]:
    """Where the compacted topic isn't the data set: what is missing, not the newest version, or left over."""
    newest = compacted(records)
    for key, line in truth.items():
        record = newest.get(key)
        if record is None:
            yield f"{key.decode()} is missing"
        elif record.value is None:
            yield f"{key.decode()} is alive, and {record} says that it is gone"
        elif record.value != line:
            yield f"{key.decode()} is not the newest version in {record} by {record.header('ce_id')}"
    for key, record in newest.items():
        if key not in truth and record.value is not None:
            yield f"{key.decode()} is gone, and {record} by {record.header('ce_id')} still tells of it"


def untimely(
    records: Iterable[Record], deleted: Mapping[str, datetime], moments: Mapping[str, datetime]
) -> Iterator[str]:
    """Tombstones of entities that were not gone by then: the moment whose data the export held, by its id."""
    for record in records:
        if record.value is not None:
            continue
        export_id, _, key = record.header("ce_id").partition("/gone/")
        died = deleted.get((record.key or b"").decode())
        if key.encode() != record.key or export_id not in moments:
            yield f"{record} is a tombstone of nobody's making: {record.header('ce_id')}"
        elif died is None or died > moments[export_id]:
            yield f"{record} says at {moments[export_id]} that {key} is gone, which was so from {died or 'never'}"


def backwards(records: Iterable[Record]) -> Iterator[str]:
    """Records that tell an older version of an entity than the same source has told before."""
    told: dict[tuple[bytes | None, str], str] = {}
    for record in records:
        if record.value is None:
            continue
        place = record.key, record.header("ce_source")
        updated = json.loads(record.value).get("UpdatedUtc") or ""
        if updated < told.get(place, ""):
            yield f"{record} takes {(record.key or b'').decode()} back from {told[place]} to {updated}"
        told[place] = updated


def none_of(found: Iterable[str]) -> None:
    """Fail with the first few differences, where there are any."""
    differences = list(found)
    if differences:
        shown = "\n".join(f"  {difference}" for difference in differences[:SHOWN])
        raise AssertionError(f"{len(differences)} differences, the first of them:\n{shown}")
