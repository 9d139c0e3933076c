"""Everything that can be chosen about the simulator."""

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

    pending_seconds: float = 2.0
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
