"""The export API without HTTP: who may ask, what exports there are, what they look like in an answer."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec

from streamer.sandbox.api_requests import AddRequest, ApiError, add_request, credentials, get_all_request
from streamer.sandbox.export_files import ExportFile, GivenFile, SpoiledFile
from streamer.sandbox.exports import Delays, Export, Status
from streamer.sandbox.faults import SpoilLine
from streamer.sandbox.moving_data import MovingData
from streamer.sandbox.resting_data import RestingData
from streamer.sandbox.simulator_settings import SimulatorSettings

ALREADY_RUNNING = "Export for the entity type is already running."


class ExportApi:
    """Takes decoded bodies, gives exports. What time it is, by the world's clock and by the machine's, is an argument
    of everything."""

    def __init__(self, settings: SimulatorSettings, data: RestingData | MovingData) -> None:
        self.exports: dict[str, Export] = {}
        self._settings = settings
        self._data = data
        self._ahead: dict[str, AddRequest] = {}  # of the exports that have not looked at the data yet
        self._given: dict[str, list[ExportFile]] = {}
        self._limits = {token: RateLimit(settings) for token in settings.access_tokens}
        self._delays = Delays(
            timedelta(seconds=settings.pending_seconds),
            timedelta(seconds=settings.processing_seconds),
            timedelta(seconds=settings.retention_seconds),
        )

    def add(self, body: object, now: datetime, machine: datetime) -> Export:
        token = self._authorized(body, machine)
        request = add_request(body, now, filters_refused=self._settings.filters_refused)
        self._data.check(request, token)
        for export in self.exports.values():
            if (export.access_token, export.entity_type) == (
                token,
                request.entity_type,
            ) and export.is_running(machine):
                raise ApiError(400, ALREADY_RUNNING)
        export = Export(
            id=str(uuid4()),
            access_token=token,
            entity_type=request.entity_type,
            scope=_as_sent(request.scope) or {"EnterpriseIds": None, "ChainIds": None},
            filters=_as_sent(request.filters),
            requested_at=now,
            since=machine,
            delays=self._delays,
        )
        self.exports[export.id] = export
        self._ahead[export.id] = request
        self.look(now, machine)
        return export

    def get_all(self, body: object, now: datetime, machine: datetime) -> list[Export]:
        token = self._authorized(body, machine)
        self.look(now, machine)
        ids = dict.fromkeys(str(export_id) for export_id in get_all_request(body).export_ids)
        known = [self.exports[i] for i in ids if i in self.exports and self.exports[i].access_token == token]
        if len(known) < len(ids) and self._settings.unknown_ids == "refused":
            raise ApiError(400, "Invalid ExportIds")
        return known

    def look(self, now: datetime, machine: datetime) -> None:
        """Each export looks at the data once: where those rest, when it is asked for; where they move, as soon as
        somebody can see that it is no longer pending. So it holds the state of one moment before its completion."""
        for export_id, request in list(self._ahead.items()):
            export = self.exports[export_id]
            if self._data.moves and export.status(machine) is Status.PENDING:
                continue
            given = self._given.get(request.entity_type)
            moment = export.moment = self._data.looks_at(request, now)
            export.files = self._data.files(request, export.access_token, moment) if given is None else given
            self._spoil(export)
            del self._ahead[export_id]

    def spoil(self, export_id: str, how: SpoilLine) -> None:
        """A line of the export is no good, of which the client has not seen a file yet."""
        export = self.exports[export_id]
        export.spoiled = (*export.spoiled, how)
        self._spoil(export)

    def set_data(self, entity_type: str, files: Sequence[bytes]) -> None:
        self._given[entity_type] = [GivenFile(data) for data in files]

    def clear_data(self, entity_type: str) -> None:
        self._given.pop(entity_type, None)

    def _authorized(self, body: object, machine: datetime) -> str:
        client_token, access_token = credentials(body)
        if client_token != self._settings.client_token or access_token not in self._limits:
            raise ApiError(401, "Invalid ClientToken or AccessToken.")
        retry_after = self._limits[access_token].retry_after(machine)
        if retry_after is not None:
            raise ApiError(429, "Too many requests.", retry_after=retry_after)
        return access_token

    def _spoil(self, export: Export) -> None:
        for spoil in export.spoiled:
            export.files = [
                SpoiledFile.of(file, spoil.how) if index == spoil.file_index else file
                for index, file in enumerate(export.files)
            ]


class RateLimit:
    """So many requests in a time that begins with the first of a burst."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._most, self._span = settings.rate_limit, timedelta(seconds=settings.rate_seconds)
        self._since: datetime | None = None
        self._count = 0

    def retry_after(self, now: datetime) -> int | None:
        """Counts a request in: None, or the seconds to wait if it is one too many."""
        if self._since is None or now >= self._since + self._span:
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= self._most:
            return None
        return int((self._since + self._span - now).total_seconds()) + 1


def export_answer(export: Export, now: datetime, machine: datetime, link: Callable[[str], str]) -> dict[str, Any]:
    """An export as the API tells of it; the files are there only after a success."""
    status = export.status(machine)
    over = status in {Status.SUCCESS, Status.EXPIRED}
    return {
        "Id": export.id,
        "Status": status.value,
        "EntityType": export.entity_type,
        "Scope": export.scope,
        "Files": [
            {"Url": link(export.file_name(index)), "SizeInBytes": file.size}
            for index, file in enumerate(export.files)
            if status is Status.SUCCESS
        ],
        "ExpiresUtc": as_utc(now + (export.expires_at - machine)) if over else None,
        "Filters": export.filters,
    }


def as_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_sent(part: object) -> dict[str, Any] | None:
    if part is None:
        return None
    builtins: dict[str, Any] = msgspec.to_builtins(part)
    return builtins
