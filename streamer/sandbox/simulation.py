"""The state of the simulator, and all that tests may see and change of it."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from streamer.sandbox.export_api import ExportApi, as_utc
from streamer.sandbox.export_files import ExportFile
from streamer.sandbox.exports import Export, Status
from streamer.sandbox.faults import FaultRule, Faults, FaultState
from streamer.sandbox.held_requests import Held, HeldRequests
from streamer.sandbox.links import Links
from streamer.sandbox.simulator_settings import SimulatorSettings


def utc_now() -> datetime:
    return datetime.now(UTC)


class Simulation:
    """Exports, faults, links, counts and the clock. What the control endpoint does, a method here does."""

    def __init__(self, settings: SimulatorSettings | None = None, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.settings = settings or SimulatorSettings()
        self.api = ExportApi(self.settings)
        self.links = Links(os.urandom(32))
        self.faults = Faults(self.settings.seed)
        self.held_requests = HeldRequests()
        self.requests = Counter({"add": 0, "getAll": 0, "file": 0})
        self.requests_by_type: dict[str, Counter[str]] = {}
        self.file_bytes_sent = 0
        self.url = ""
        self.background: set[asyncio.Task[web.StreamResponse]] = set()
        self._clock = clock
        self._offset = timedelta()

    def __repr__(self) -> str:
        return f"<Simulation at {self.url or 'rest'}>"

    # -- looking -------------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return self._clock() + self._offset

    def state(self) -> dict[str, Any]:
        """What there is and what has been asked for, as the control endpoint tells it."""
        return {
            "now": as_utc(self.now()),
            "exports": [self._told(export) for export in self.api.exports.values()],
            "requests": dict(self.requests),
            "requests_by_type": {name: dict(counts) for name, counts in self.requests_by_type.items()},
            "file_bytes_sent": self.file_bytes_sent,
            "faults": self.fault_states(),
            "held": self.held_requests.listed(),
        }

    def export(self, export_id: str) -> Export:
        return self.api.exports[export_id]

    def file(self, export_id: str, index: int) -> ExportFile:
        """The true contents of a file, whatever faults there are."""
        return self.export(export_id).files[index]

    def fault_states(self) -> list[FaultState]:
        return self.faults.state()

    # -- meddling ------------------------------------------------------------------------------------------------------

    def add_fault(self, rule: FaultRule) -> int:
        return self.faults.add(rule)

    def clear_faults(self) -> None:
        """No more faults, and nothing held back any longer."""
        self.faults.clear()
        self.release()

    async def held(self, count: int = 1, timeout: float = 10.0) -> list[Held]:
        """What is held back, as soon as that is `count` requests; `TimeoutError` if it never is."""
        async with asyncio.timeout(timeout):
            return await self.held_requests.wait_for(count)

    def release(self, held_id: int | None = None) -> int:
        return self.held_requests.release(held_id)

    def set_data(self, entity_type: str, files: Sequence[bytes]) -> None:
        """The next exports of the type have exactly these files."""
        self.api.set_data(entity_type, files)

    def clear_data(self, entity_type: str) -> None:
        self.api.clear_data(entity_type)

    def set_status(self, export_id: str, status: Status | None) -> None:
        """Decrees an export's status; None leaves it to the clock again."""
        self.export(export_id).decreed = status

    def advance(self, seconds: float) -> datetime:
        self._offset += timedelta(seconds=seconds)
        return self.now()

    def count(self, operation: str, entity_types: Sequence[str]) -> None:
        self.requests[operation] += 1
        for entity_type in entity_types:
            self.requests_by_type.setdefault(entity_type, Counter())[operation] += 1

    def link(self, file_name: str) -> str:
        lifetime = timedelta(seconds=self.settings.link_seconds)
        return self.url + self.links.target(file_name, self.now(), lifetime)

    def _told(self, export: Export) -> dict[str, Any]:
        return {
            "id": export.id,
            "entity_type": export.entity_type,
            "status": export.status(self.now()).value,
            "scope": export.scope,
            "filters": export.filters,
            "requested_at": export.requested_at,
            "lines": sum(file.lines for file in export.files),
            "files": [
                {"index": index, "name": export.file_name(index), "size": file.size, "lines": file.lines}
                for index, file in enumerate(export.files)
            ],
        }
