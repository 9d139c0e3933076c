"""Whether the line of a dead letter that is valid by now may still become a record.

A line of last week must not overtake what was published since. Where both say when they were updated, that decides;
where one doesn't, or it is a tombstone, whatever was written after the dead letter is newer.
"""

from __future__ import annotations

import msgspec

from streamer.core.comparing import updated_of
from streamer.core.differences import UNTIMED, microseconds


class Said(msgspec.Struct, frozen=True):
    """What a topic has of one key: its newest record, and the ``ce_id`` of all. ``at`` in milliseconds since 1970."""

    value: bytes | None
    at: int
    ce_ids: frozenset[str]


def why_too_late(ce_id: str, line: bytes, letter_at: int, said: Said | None) -> str:
    """Why the line of a dead letter may not become a record any more; empty where it may. ``letter_at`` as in ``Said``.

    ``said`` is None where the topic has nothing of its key.
    """
    if said is None:
        return ""
    if ce_id in said.ce_ids:
        return "it was replayed before"
    if said.value == line:
        return "the topic says the same already"
    if said.value is not None:
        ours, theirs = microseconds([updated_of(line), updated_of(said.value)])
        if UNTIMED not in (ours, theirs) and ours != theirs:
            return "" if ours > theirs else "the topic has a newer version of this entity"
    return "the topic has a later record of this entity" if said.at >= letter_at else ""
