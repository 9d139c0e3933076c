"""A data set that moves, as the tokens see it: which enterprises each reaches, and whether time goes on there."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from streamer.sandbox.api_requests import AddRequest, ApiError, Scope
from streamer.sandbox.export_files import ExportFile
from streamer.sandbox.moving_lines import ENTERPRISES, chain_id, enterprise_ids
from streamer.sandbox.moving_world import MovingWorld, Selection
from streamer.sandbox.simulator_settings import SimulatorSettings


class MovingData:
    """`start` is when it begins to move."""

    moves = True

    def __init__(self, settings: SimulatorSettings, start: datetime) -> None:
        self.still_at: datetime | None = None  # from when on nothing changes any more
        self.reach = {
            token: frozenset(settings.reach.get(position, range(ENTERPRISES)))
            for position, token in enumerate(settings.access_tokens)
        }
        self._stale_seconds = settings.stale_seconds
        self._world = MovingWorld(settings, start)
        self._chain = chain_id(settings.seed)
        self._numbers = {enterprise: number for number, enterprise in enumerate(enterprise_ids(settings.seed))}

    def check(self, request: AddRequest, token: str) -> None:
        """Raises `ApiError` where the scope is not within the token's reach."""
        self._asked(request, token)

    def looks_at(self, request: AddRequest, now: datetime) -> datetime:
        """The moment that an export holds which looks at the data now; that of a snapshot may be some time ago."""
        is_snapshot = request.updated is None and request.posting is None
        ago = int(now.timestamp()) * 7919 % (self._stale_seconds + 1) if is_snapshot else 0
        return self.seen_at(now - timedelta(seconds=ago))

    def files(self, request: AddRequest, token: str, moment: datetime) -> list[ExportFile]:
        """The files of an export that holds the data of a moment."""
        updated, posting = request.updated, request.posting
        selection = Selection(
            request.entity_type,
            self._asked(request, token),
            (updated.start_utc, updated.end_utc) if updated else None,
            (posting.start, posting.end) if posting else None,
        )
        return self._world.files(selection, moment)

    def truth(self, entity_type: str, token: str, moment: datetime) -> Iterator[bytes]:
        """The lines, without their newlines, of all that a token reaches at a moment."""
        return self._world.truth(Selection(entity_type, self.reach[token]), self.seen_at(moment))

    def deleted(self, entity_type: str, moment: datetime) -> dict[str, datetime]:
        """When each entity was deleted that is no more at a moment, by its id; it never comes back."""
        return self._world.deleted(entity_type, self.seen_at(moment))

    def seen_at(self, moment: datetime) -> datetime:
        """The moment whose data a look at this one finds."""
        return moment if self.still_at is None else min(moment, self.still_at)

    def _asked(self, request: AddRequest, token: str) -> frozenset[int]:
        scope = request.scope or Scope()
        if scope.chain_ids is not None and [str(chain) for chain in scope.chain_ids] != [self._chain]:
            raise ApiError(400, "Invalid Scope.ChainIds", "out of the token's reach")
        if scope.enterprise_ids is None:
            return self.reach[token]
        asked = {self._numbers.get(str(enterprise), -1) for enterprise in scope.enterprise_ids}
        if not asked <= self.reach[token]:
            raise ApiError(400, "Invalid Scope.EnterpriseIds", "out of the token's reach")
        return frozenset(asked)
