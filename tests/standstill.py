"""A world whose data stand still, and whether streams have caught up with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Self

from streamer.sandbox.simulator import Simulator
from tests.daemon import Row


@dataclass(frozen=True)
class Standstill:
    """``asked`` are the exports that had been asked for when the data came to stand still."""

    simulator: Simulator
    at: datetime
    asked: frozenset[str]

    @classmethod
    def of(cls, simulator: Simulator) -> Self:
        """From now on, in the world's time."""
        simulator.hold_still()
        return cls(simulator, simulator.now(), frozenset(simulator.api.exports))

    def has_window(self, row: Row) -> bool:
        """Whether its last window was asked for since, and reaches beyond that moment."""
        last = row["last_window"]
        if last is None or last["export_id"] in self.asked:
            return False
        filters = self.simulator.export(last["export_id"]).filters or {}
        if updated := filters["UpdatedUtc"]:
            return datetime.fromisoformat(updated["EndUtc"]) > self.at
        return date.fromisoformat(filters["LedgerEntryFilters"]["Posting"]["End"]) >= self.at.date()

    def has_snapshots(self, row: Row, token: str, entity_type: str) -> bool:
        """Whether two snapshots were asked for since: with the first one the daemon may not have known the time yet,
        and the scope may have changed before it."""
        since = [
            export.id
            for export in self.simulator.api.exports.values()
            if (export.access_token, export.entity_type, export.filters) == (token, entity_type, None)
            and export.id not in self.asked
        ]
        return row["last_snapshot"] is not None and row["last_snapshot"]["export_id"] in since[1:]
