"""A data set of any size at rest: the same entities for ever, updated in turns, and quick to write."""

from datetime import UTC, datetime, time, timedelta

from streamer.sandbox.api_requests import AddRequest
from streamer.sandbox.entities import PAGE_LINES, Page, page
from streamer.sandbox.export_files import FROZEN_AT, ExportFile, Rounds, generated_files, updates_between
from streamer.sandbox.simulator_settings import SimulatorSettings


class RestingData:
    moves = False

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings

    def check(self, request: AddRequest, token: str) -> None:
        """Nobody knows the enterprises here: every scope is welcome, and selects nothing."""

    def looks_at(self, request: AddRequest, now: datetime) -> datetime:  # noqa: ARG002 - see check
        return now

    def files(self, request: AddRequest, token: str, moment: datetime) -> list[ExportFile]:  # noqa: ARG002 - see check
        settings = self._settings
        lines = page(request.entity_type, settings.seed, settings.line_bytes if settings.lines == "fixed" else None)
        count = self._count(request.entity_type, lines)
        if not count:
            return []
        ledger = request.entity_type == "LedgerEntry"
        rounds = Rounds(count, 365 * 86_400 if ledger else settings.cycle_seconds, repeated=not ledger)
        seen = moment if settings.updates or ledger else min(moment, FROZEN_AT)
        updates = updates_between(rounds, *_window(request), seen)
        return generated_files(lines, rounds, updates, settings.files, seen)

    def _count(self, entity_type: str, lines: Page) -> int:
        settings = self._settings
        if entity_type in settings.entities_by_type or settings.bytes_per_type is None:
            return settings.entities_by_type.get(entity_type, settings.entities)
        return settings.bytes_per_type * PAGE_LINES // lines.starts[-1]


def _window(request: AddRequest) -> tuple[datetime | None, datetime | None]:
    if request.updated is not None:
        return request.updated.start_utc, request.updated.end_utc
    if request.posting is not None:  # both days belong to it
        first = datetime.combine(request.posting.start, time(), tzinfo=UTC)
        return first, datetime.combine(request.posting.end, time(), tzinfo=UTC) + timedelta(days=1)
    return None, None
