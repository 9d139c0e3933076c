"""What the other programs are told: one file, one topic; apart, so that whoever tells need not load what they use."""

from __future__ import annotations

import msgspec


class PeerTask(msgspec.Struct, frozen=True):
    """``headers``: those that are the same for every record, and ``id_prefix`` what ``ce_id`` begins with.

    ``lines``: how many there are to send; all of the file, but for the naive way.
    """

    bootstrap_servers: str
    topic: str
    link: str
    compression: str
    headers: dict[str, str]
    id_prefix: str
    lines: int
