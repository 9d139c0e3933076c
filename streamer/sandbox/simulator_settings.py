"""Everything that can be chosen about the simulator."""

from datetime import datetime
from typing import Literal

import msgspec


class SimulatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    client_token: str = "demo-client-token"  # noqa: S105 - for show
    access_tokens: tuple[str, ...] = ("demo-access-token",)

    seed: int = 1
    entities: int = 10_000  # of each type; of ledger entries, in a round (see `cycle_seconds`)
    entities_by_type: dict[str, int] = {}
    bytes_per_type: int | None = None  # chooses the number of entities instead, where `entities_by_type` does not
    files: int = 3  # per export, if there are as many lines
    lines: Literal["lifelike", "fixed"] = "lifelike"
    line_bytes: int = 430  # length of a fixed line, without its newline
    cycle_seconds: int = 10 * 86_400  # in this time each entity is updated once; ledger entries: 365 days
    updates: bool = True  # False: nothing is updated after 1 January 2026, so that all snapshots are alike

    moving: bool = False  # entities are created, updated, merged and deleted as the clock runs
    births_a_day: float = 0.02  # of the entities; so much of them is new every day
    mortal_share: float = 0.3  # is deleted for good within 40 days; profiles never are
    merged_share: float = 0.2  # of customers and companies, which are merged some day
    late_share: float = 0.05  # of the updates, which show later than their `UpdatedUtc` by up to ...
    late_seconds: int = 600  # ... so much
    stale_seconds: int = 0  # a snapshot, worse than documented, holds a moment up to so long before its request
    reach: dict[int, tuple[int, ...]] = {}  # enterprises by position of their access token; default: all of them
    start: datetime | None = None  # what time the clock has at first, and when the world begins to move; default: now
    speed: float = 1.0  # seconds of the clock in a second; 0: it stands still

    pending_seconds: float = 2.0  # these, and all below, are seconds of the machine, whatever the clock's speed
    processing_seconds: float = 3.0
    retention_seconds: float = 7 * 86_400.0
    link_seconds: float = 600.0

    filters_refused: bool = False  # 400 for whatever has Scope or Filters
    unknown_ids: Literal["left_out", "refused"] = "left_out"
    etags: bool = True
    rate_limit: int = 200  # requests of an access token ...
    rate_seconds: float = 30.0  # ... in this time
    bytes_per_second: float | None = None  # of one download

    def __repr__(self) -> str:
        return f"<SimulatorSettings on {self.host}:{self.port}>"  # says no token
