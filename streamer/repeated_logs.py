"""Says once what a library says many times a second: during an outage aiokafka repeats itself at every retry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

QUIET_SECONDS = 10.0
"""For how long the same message of the same logger is not repeated."""

_MOST_MESSAGES = 1000


class RepeatedMessages(logging.Filter):
    """Lets a message pass if it differs in its template or level from those of the last seconds.

    The template, without its arguments: offsets, partitions and node numbers vary from line to line. What was left
    out is told with the next one that passes, as ``repeated``.
    """

    def __init__(self, *, seconds: float = QUIET_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._passed: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        said = (record.name, record.levelno, str(record.msg))
        now = self._clock()
        passed_at, left_out = self._passed.get(said, (float("-inf"), 0))
        if now - passed_at < self._seconds:
            self._passed[said] = (passed_at, left_out + 1)
            return False
        if len(self._passed) >= _MOST_MESSAGES:
            self._passed.clear()
        self._passed[said] = (now, 0)
        if left_out:
            record.repeated = left_out
        return True
