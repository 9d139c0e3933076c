"""The rules of windows as they are by default."""

from __future__ import annotations

from datetime import timedelta

from streamer.core.windows import (
    LedgerWindows,
    UpdateWindows,
)

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
UPDATES = UpdateWindows(overlap=10 * MINUTE, margin=MINUTE)
LEDGER = LedgerWindows(lookback=7 * DAY)
