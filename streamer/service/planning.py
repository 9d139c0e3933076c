"""What the daemon would do next with each stream, from the checkpoints alone: Mews is not called."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from streamer.config import Config
from streamer.core.checkpoint import Checkpoint
from streamer.core.plan import Planned, planned
from streamer.model import StreamKey
from streamer.service.looking import stream_table
from streamer.service.streams import ask_settings


async def plans(
    config: Config, streams: Iterable[StreamKey], *, now: datetime
) -> list[tuple[StreamKey, dict[str, Any]]]:
    """Each stream's next step as its fields, see ``Planned``. Raises ``KafkaUnavailableError``."""
    connections = {connection.name: connection for connection in config.connections}
    rows = []
    async with stream_table(config) as entries:
        for key in streams:
            entry = entries.get(str(key))
            if entry is not None and entry.checkpoint is None:
                step = Planned(f"leaves the stream alone: {entry.problem}")
            else:
                cadence = ask_settings(config, connections[key.connection], key, once=False).cadence
                checkpoint = entry.checkpoint if entry and entry.checkpoint else Checkpoint()
                step = planned(checkpoint, now=now, cadence=cadence)
            rows.append((key, msgspec.structs.asdict(step)))
    return rows
