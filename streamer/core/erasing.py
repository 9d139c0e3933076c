"""Entities that a person has had erased, and that stay out of their topic although Mews goes on sending them.

A checkpoint knows them by keyed hashes of their Ids alone. How long: until a snapshot that was asked for after the
erasure holds none of them. A hash by another key can't be told from that of anybody else, so each names the key that
made it: with a wrong key nothing is published, rather than somebody who was erased.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from streamer.core.checkpoint import Checkpoint, Erased
from streamer.core.records import UNREADABLE, identify
from streamer.core.states import Counts, Request
from streamer.model import ExportKind

MOST_ERASED: Final = 500
"""At once, of a stream: each is some 100 bytes of every checkpoint that it writes."""


class KeptOut(msgspec.Struct, frozen=True):
    """A line of an erased entity, which is known by this hash."""

    hash: str


class Erasure:
    """Hashes Ids with a key of one's own, which ``mark`` tells from others without telling it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.mark = self.hash(b"\0the key itself")[:8]

    def hash(self, id_: bytes) -> str:
        """The keyed hash of an Id, in hexadecimal: HMAC-SHA-256."""
        return hmac.digest(self._key, id_, "sha256").hex()

    def kept_out(self, line: bytes, erased: Mapping[str, Erased]) -> KeptOut | None:
        """Whether a line is of an erased entity; None also where nobody can read whose it is."""
        try:
            found = self.hash(identify(line).id.encode())
        except UNREADABLE:
            return None
        return KeptOut(found) if found in erased else None


def erasure_id(signal: int) -> str:
    """What stands in ``ce_id`` where an export's id does otherwise, for the tombstone that this signal led to."""
    return f"erase-{signal}"


def why_unknowable(checkpoint: Checkpoint, erasure: Erasure | None) -> str:
    """Why nobody can tell by these settings who was erased; empty where that is known, or nobody was."""
    if all(erasure is not None and entry.by == erasure.mark for entry in checkpoint.erased.values()):
        return ""
    return "exports.erasure_key is not the one by which entities of this stream were erased"


def with_sent(erased: Mapping[str, Erased], hashes: Iterable[str], cycle: int) -> Mapping[str, Erased]:
    """The erased, of whom an export of this cycle holds some."""
    sent = {name: msgspec.structs.replace(erased[name], cycle=cycle) for name in hashes if name in erased}
    return {**erased, **sent} if sent else erased


def still_sent(erased: Mapping[str, Erased], request: Request, counts: Counts) -> Mapping[str, Erased]:
    """The erased after a completed export: without those whom a later snapshot doesn't hold any more.

    A dead letter may have been anybody.
    """
    if request.kind is not ExportKind.SNAPSHOT or counts.dead_letters:
        return erased
    return {
        name: entry
        for name, entry in erased.items()
        if entry.cycle == request.cycle or entry.at >= request.requested_at
    }
