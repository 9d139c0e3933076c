"""How long to wait before the next attempt: longer each time, never in step with others, as the server asks.

Attempts count from 1 and are counted by the caller, who starts over whenever something went well: only then a
download that breaks a hundred times, but moves on each time, is not punished for its age. Randomness and the
time of day are arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec


class BackoffPolicy(msgspec.Struct, frozen=True):
    """Waits in seconds, before chance takes its share: ``base``, ``base * factor``, ... up to ``ceiling``."""

    base: float = 1.0
    ceiling: float = 60.0
    factor: float = 2.0
    longest_wish: float = 3600.0
    """The longest wait that a server may ask for: more than this is hardly meant in earnest."""


def delay(
    policy: BackoffPolicy, attempt: int, *, random: Callable[[], float], retry_after: float | None = None
) -> float:
    """Seconds to wait after the ``attempt``-th failure in a row, the first being 1.

    Half of the policy's wait is certain and the other half is multiplied by ``random()`` (from 0 to 1), so
    that replicas that failed together don't come back together and still none comes back at once.
    ``retry_after``, the server's wish in seconds, wins where it is longer, up to ``longest_wish``; it may
    exceed the ceiling.
    """
    try:
        wait = min(policy.ceiling, policy.base * policy.factor ** (max(attempt, 1) - 1))
    except OverflowError:
        wait = policy.ceiling
    wait = wait / 2 + wait / 2 * random()
    return wait if retry_after is None else max(wait, min(retry_after, policy.longest_wish))


_SECONDS = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (RFC 9110, 10.2.3): a number, or a date after ``now``.

    ``now`` is aware. What lies in the past, and a negative number, is 0; no header or an unreadable one is
    ``None``. Fractions are not in the standard, but some servers send them.
    """
    value = (value or "").strip()
    if _SECONDS.fullmatch(value):
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC without a word about where the server stands
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
