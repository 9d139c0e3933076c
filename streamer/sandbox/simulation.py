"""The state of the simulator, and all that tests may see and change of it."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from streamer.sandbox.export_api import ExportApi, as_utc
from streamer.sandbox.export_files import ExportFile
from streamer.sandbox.exports import Export, Status
from streamer.sandbox.faults import FaultRule, Faults, FaultState
from streamer.sandbox.held_requests import Held, HeldRequests
from streamer.sandbox.links import Links
from streamer.sandbox.moving_data import MovingData
from streamer.sandbox.moving_lines import chain_id, enterprise_ids
from streamer.sandbox.resting_data import RestingData
from streamer.sandbox.simulated_clock import SimulatedClock
from streamer.sandbox.simulator_settings import SimulatorSettings


def utc_now() -> datetime:
    return datetime.now(UTC)


class Simulation:
    """Exports, faults, links, counts and the clock. What the control endpoint does, a method here does."""

    def __init__(self, settings: SimulatorSettings | None = None, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.settings = settings or SimulatorSettings()
        self.clock = SimulatedClock(clock, start=self.settings.start, speed=self.settings.speed)
        self._moving = MovingData(self.settings, self.clock.now()) if self.settings.moving else None
        self.api = ExportApi(self.settings, self._moving or RestingData(self.settings))
        self.links = Links(os.urandom(32))
        self.faults = Faults(self.settings.seed)
        self.held_requests = HeldRequests()
        self.requests = Counter({"add": 0, "getAll": 0, "file": 0})
        self.requests_by_type: dict[str, Counter[str]] = {}
        self.file_bytes_sent = 0
        self.url = ""
        self.background: set[asyncio.Task[web.StreamResponse]] = set()

    def __repr__(self) -> str:
        return f"<Simulation at {self.url or 'rest'}>"

    # -- looking -------------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The world's time."""
        return self.clock.now()

    def machine(self) -> datetime:
        """The time by which exports, links and limits go."""
        return self.clock.machine()

    @property
    def moving(self) -> MovingData:
        """The data that move; `LookupError` if they rest."""
        if self._moving is None:
            raise LookupError("the data of this simulator do not move")
        return self._moving

    def truth(self, entity_type: str, *, token: int = 0, at: datetime | None = None) -> Iterator[bytes]:
        """The lines of all that an access token, by its position, reaches: what a snapshot that looks at the data now,
        or did at a moment, holds."""
        return self.moving.truth(entity_type, self.settings.access_tokens[token], at or self.now())

    def deleted(self, entity_type: str) -> dict[str, datetime]:
        """When each entity was deleted that is no more, by its id."""
        return self.moving.deleted(entity_type, self.now())

    def state(self) -> dict[str, Any]:
        """What there is and what has been asked for, as the control endpoint tells it."""
        self.api.look(self.now(), self.machine())
        return {
            "now": as_utc(self.now()),
            "enterprises": enterprise_ids(self.settings.seed),
            "chain": chain_id(self.settings.seed),
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
        """Skips so much of all times."""
        self.clock.advance(seconds)
        return self.now()

    def set_clock(self, *, now: datetime | None = None, speed: float | None = None) -> datetime:
        """What time the world has, and how fast it runs; what the machine's time decides goes on as before."""
        self.clock.set(now=now, speed=speed)
        return self.now()

    def hold_still(self, still: bool = True) -> None:
        """Nothing changes in a world that moves from now on, while its clock goes on; or it catches up."""
        self.moving.still_at = self.now() if still else None

    def set_reach(self, token: int, enterprises: Sequence[int]) -> None:
        """The enterprises, by number, whose data an access token reaches from now on, in a world that moves."""
        self.moving.reach[self.settings.access_tokens[token]] = frozenset(enterprises)

    def count(self, operation: str, entity_types: Sequence[str]) -> None:
        self.requests[operation] += 1
        for entity_type in entity_types:
            self.requests_by_type.setdefault(entity_type, Counter())[operation] += 1

    def link(self, file_name: str) -> str:
        lifetime = timedelta(seconds=self.settings.link_seconds)
        return self.url + self.links.target(file_name, self.machine(), lifetime)

    def _told(self, export: Export) -> dict[str, Any]:
        return {
            "id": export.id,
            "entity_type": export.entity_type,
            "status": export.status(self.machine()).value,
            "scope": export.scope,
            "filters": export.filters,
            "requested_at": export.requested_at,
            "moment": export.moment,
            "lines": sum(file.lines for file in export.files),
            "files": [
                {"index": index, "name": export.file_name(index), "size": file.size, "lines": file.lines}
                for index, file in enumerate(export.files)
            ],
        }
