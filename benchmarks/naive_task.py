"""What the naive way is told to do; apart from it, so that the benchmark itself need not load what it uses."""

from __future__ import annotations

import msgspec


class Task(msgspec.Struct, frozen=True):
    """What to send where. ``links`` are those of the export's files in order, ``lines`` how many to send in all."""

    bootstrap_servers: str
    topic: str
    compression: str | None
    source: str
    entity_type: str
    export_id: str
    links: list[str]
    lines: int
    headers: bool
