"""The export API without HTTP: who may ask, what exports there are, what they look like in an answer."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import msgspec

from streamer.sandbox.api_requests import AddRequest, ApiError, add_request, credentials, get_all_request
from streamer.sandbox.entities import PAGE_LINES, Page, page
from streamer.sandbox.export_files import (
    FROZEN_AT,
    ExportFile,
    GivenFile,
    Rounds,
    generated_files,
    updates_between,
)
from streamer.sandbox.exports import Delays, Export, Status
from streamer.sandbox.simulator_settings import SimulatorSettings

ALREADY_RUNNING = "Export for the entity type is already running."


class ExportApi:
    """Takes decoded bodies, gives exports; the time is an argument of everything."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.exports: dict[str, Export] = {}
        self._settings = settings
        self._given: dict[str, list[ExportFile]] = {}
        self._limits = {token: RateLimit(settings) for token in settings.access_tokens}
        self._delays = Delays(
            timedelta(seconds=settings.pending_seconds),
            timedelta(seconds=settings.processing_seconds),
            timedelta(seconds=settings.retention_seconds),
        )

    def add(self, body: object, now: datetime) -> Export:
        token = self._authorized(body, now)
        request = add_request(body, now, filters_refused=self._settings.filters_refused)
        for export in self.exports.values():
            if (export.access_token, export.entity_type) == (
                token,
                request.entity_type,
            ) and export.is_running(now):
                raise ApiError(400, ALREADY_RUNNING)
        export = Export(
            id=str(uuid4()),
            access_token=token,
            entity_type=request.entity_type,
            scope=_as_sent(request.scope) or {"EnterpriseIds": None, "ChainIds": None},
            filters=_as_sent(request.filters),
            requested_at=now,
            delays=self._delays,
            files=self._files(request, now),
        )
        self.exports[export.id] = export
        return export

    def get_all(self, body: object, now: datetime) -> list[Export]:
        token = self._authorized(body, now)
        ids = dict.fromkeys(str(export_id) for export_id in get_all_request(body).export_ids)
        known = [self.exports[i] for i in ids if i in self.exports and self.exports[i].access_token == token]
        if len(known) < len(ids) and self._settings.unknown_ids == "refused":
            raise ApiError(400, "Invalid ExportIds")
        return known

    def set_data(self, entity_type: str, files: Sequence[bytes]) -> None:
        self._given[entity_type] = [GivenFile(data) for data in files]

    def clear_data(self, entity_type: str) -> None:
        self._given.pop(entity_type, None)

    def _authorized(self, body: object, now: datetime) -> str:
        client_token, access_token = credentials(body)
        if client_token != self._settings.client_token or access_token not in self._limits:
            raise ApiError(401, "Invalid ClientToken or AccessToken.")
        retry_after = self._limits[access_token].retry_after(now)
        if retry_after is not None:
            raise ApiError(429, "Too many requests.", retry_after=retry_after)
        return access_token

    def _files(self, request: AddRequest, now: datetime) -> list[ExportFile]:
        given = self._given.get(request.entity_type)
        if given is not None:
            return given
        settings = self._settings
        lines = page(request.entity_type, settings.seed, settings.line_bytes if settings.lines == "fixed" else None)
        count = self._count(request.entity_type, lines)
        if not count:
            return []
        ledger = request.entity_type == "LedgerEntry"
        rounds = Rounds(count, 365 * 86_400 if ledger else settings.cycle_seconds, repeated=not ledger)
        seen = now if settings.updates or ledger else min(now, FROZEN_AT)
        updates = updates_between(rounds, *_window(request), seen)
        return generated_files(lines, rounds, updates, settings.files, seen)

    def _count(self, entity_type: str, lines: Page) -> int:
        settings = self._settings
        if entity_type in settings.entities_by_type or settings.bytes_per_type is None:
            return settings.entities_by_type.get(entity_type, settings.entities)
        return settings.bytes_per_type * PAGE_LINES // lines.starts[-1]


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


def export_answer(export: Export, now: datetime, link: Callable[[str], str]) -> dict[str, Any]:
    """An export as the API tells of it; the files are there only after a success."""
    status = export.status(now)
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
        "ExpiresUtc": as_utc(export.expires_at) if over else None,
        "Filters": export.filters,
    }


def as_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _window(request: AddRequest) -> tuple[datetime | None, datetime | None]:
    filters = request.filters
    if filters is not None and filters.updated_utc is not None:
        return filters.updated_utc.start_utc, filters.updated_utc.end_utc
    if filters is not None and filters.ledger_entry_filters is not None:
        posting = filters.ledger_entry_filters.posting  # both days belong to it
        first = datetime.combine(posting.start, time(), tzinfo=UTC)
        return first, datetime.combine(posting.end, time(), tzinfo=UTC) + timedelta(days=1)
    return None, None


def _as_sent(part: object) -> dict[str, Any] | None:
    if part is None:
        return None
    builtins: dict[str, Any] = msgspec.to_builtins(part)
    return builtins
