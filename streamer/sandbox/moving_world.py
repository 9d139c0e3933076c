"""A data set that moves: what an export, or a look at the truth, finds in it at a moment.

Only what a file's bytes follow from is kept, not the bytes: the moment, and what was asked for.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import pairwise

import msgspec
import numpy as np

from streamer.sandbox.api_requests import CHAIN_TYPES
from streamer.sandbox.entities import ENTITY_TYPES, Numbers, ids_of
from streamer.sandbox.export_files import PIECE_BYTES, ExportFile
from streamer.sandbox.moving_lines import ENTERPRISES, Forms, Rows, forms
from streamer.sandbox.moving_lives import DAY, NEVER, Lives
from streamer.sandbox.simulator_settings import SimulatorSettings

# One in so many ledger entries is posted to one of the days before.
BACKDATED_EVERY = 5
MOST_DAYS_BACK = 5
LEDGER = "LedgerEntry"


class Selection(msgspec.Struct, frozen=True):
    """What of a type is looked for. `enterprises` are numbers, and concern no profiles: those belong to the chain."""

    entity_type: str
    enterprises: frozenset[int] = frozenset(range(ENTERPRISES))
    updated: tuple[datetime, datetime] | None = None  # half-open; equal: that very time
    posted: tuple[date, date] | None = None  # both days belong to it


class MovingWorld:
    """`start` is when it begins to move; before that, it is as it was then."""

    def __init__(self, settings: SimulatorSettings, start: datetime) -> None:
        self._settings = settings
        self._start = start
        self._rows = lru_cache(maxsize=16)(self._found)

    def files(self, selection: Selection, moment: datetime) -> list[ExportFile]:
        """The files of an export: about equal in lines, fewer of them where lines are few."""
        lines = len(self._rows(selection, moment).entities)
        cuts = np.linspace(0, lines, min(self._settings.files, lines) + 1).astype(int).tolist() if lines else [0]
        return [MovingFile(self, selection, moment, *cut) for cut in pairwise(cuts)]

    def truth(self, selection: Selection, moment: datetime) -> Iterator[bytes]:
        """The lines, without their newlines, of all that a look at a moment finds."""
        yield from (line[:-1] for line in self.lines(selection, moment, 0, None))

    def deleted(self, entity_type: str, moment: datetime) -> dict[str, datetime]:
        """When each entity that is no more by a moment was deleted, by its id."""
        entities, times = self._lives(entity_type).gone(int(moment.timestamp()))
        ids = ids_of(entities, self._forms(entity_type).seed)
        return {
            bytes(text).decode(): datetime.fromtimestamp(time, UTC)
            for text, time in zip(ids, times.tolist(), strict=True)
        }

    def lines(self, selection: Selection, moment: datetime, start: int, stop: int | None) -> Iterator[bytes]:
        """Some of the lines, with their newlines; as a file has them."""
        yield from self._forms(selection.entity_type).lines(self._rows(selection, moment).part(start, stop))

    def offsets(self, selection: Selection, moment: datetime, start: int, stop: int) -> Numbers:
        """Where each of the lines begins, if the first does so at 0, and where the last one ends."""
        lengths = self._forms(selection.entity_type).lengths[self._rows(selection, moment).forms[start:stop]]
        return np.concatenate([[0], np.cumsum(lengths)])

    def _found(self, selection: Selection, moment: datetime) -> Rows:
        lives, made = self._lives(selection.entity_type), self._forms(selection.entity_type)
        entities, versions = lives.living(int(moment.timestamp()))
        stamps, born = lives.updated(entities, versions), lives.born(entities)
        days = born // DAY - np.where(entities % BACKDATED_EVERY, 0, 1 + entities // BACKDATED_EVERY % MOST_DAYS_BACK)
        wanted = np.ones(len(entities), dtype=bool)
        if selection.entity_type not in CHAIN_TYPES:
            wanted &= np.isin(entities % ENTERPRISES, list(selection.enterprises))
        if selection.updated is not None:
            wanted &= made.stamped[entities % len(made.stamped)] & _within(stamps, *selection.updated)
        if selection.posted is not None:
            first, last = ((day - date(1970, 1, 1)).days for day in selection.posted)
            wanted &= (days >= first) & (days <= last)
        is_merged = versions == lives.last_version(entities)
        rows = Rows(
            entities, made.number_of(entities, versions, is_merged), stamps, born, days, lives.merge_target(entities)
        )
        # Nobody promises an order, so there is another one at every moment.
        order = np.roll(np.flatnonzero(wanted), -int(moment.timestamp()) % max(len(entities), 1))
        return Rows(*(getattr(rows, name)[order] for name in rows.__struct_fields__))

    def _forms(self, entity_type: str) -> Forms:
        return forms(entity_type, self._settings.seed)

    def _lives(self, entity_type: str) -> Lives:
        settings = self._settings
        rests = entity_type == LEDGER or not settings.updates
        count = settings.entities_by_type.get(entity_type, settings.entities)
        births = settings.births_a_day * count
        return Lives(
            seed=settings.seed << 8 | ENTITY_TYPES.index(entity_type),
            start=int(self._start.timestamp()),
            count=count,
            birth_seconds=max(int(DAY / births), 1) if births else NEVER,
            update_seconds=NEVER if rests else settings.cycle_seconds,
            mortal=0.0 if entity_type in {LEDGER, *CHAIN_TYPES} else settings.mortal_share,
            merged=settings.merged_share if entity_type in CHAIN_TYPES else 0.0,
            late=settings.late_share,
            late_seconds=min(settings.late_seconds, settings.cycle_seconds // 4),
        )


class MovingFile(msgspec.Struct, frozen=True):
    """The lines `[first, last)` of an export."""

    world: MovingWorld
    selection: Selection
    moment: datetime
    first: int
    last: int

    @property
    def lines(self) -> int:
        return self.last - self.first

    @property
    def size(self) -> int:
        return int(self._offsets()[-1])

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        offsets = self._offsets()
        while start < stop:
            row = int(np.searchsorted(offsets, start, side="right")) - 1
            end = max(int(np.searchsorted(offsets, min(start + PIECE_BYTES, stop), side="left")), row + 1)
            lines = self.world.lines(self.selection, self.moment, self.first + row, self.first + end)
            piece = b"".join(lines)[start - int(offsets[row]) : stop - int(offsets[row])]
            yield piece
            start += len(piece)

    def _offsets(self) -> Numbers:
        return self.world.offsets(self.selection, self.moment, self.first, self.last)


def _within(stamps: Numbers, start: datetime, end: datetime) -> np.ndarray:
    first, last = start.timestamp(), end.timestamp()
    return stamps == first if start == end else (stamps >= first) & (stamps < last)
