"""The simulator's time: its world's, which may run fast, jump and stand still, and that of the machine.

What happens in the hotel goes by the world's time, and so does all that the API tells of time (`Date`). How
long an export takes, a link lives and a limit holds goes by the machine's, so that a client has as much time
for a download in a world where a day passes in a second.
"""

from collections.abc import Callable
from datetime import datetime, timedelta


class SimulatedClock:
    def __init__(self, machine: Callable[[], datetime], *, start: datetime | None = None, speed: float = 1.0) -> None:
        self._machine = machine
        self._skipped = timedelta()
        self._speed = speed
        self._since = machine()
        self._then = start or self._since

    def now(self) -> datetime:
        """The world's time."""
        return self._then + (self.machine() - self._since) * self._speed

    def machine(self) -> datetime:
        """The machine's time, with all that `advance` skipped."""
        return self._machine() + self._skipped

    def advance(self, seconds: float) -> None:
        """Both times jump."""
        self.set(now=self.now() + timedelta(seconds=seconds))
        self._skipped += timedelta(seconds=seconds)
        self._since += timedelta(seconds=seconds)

    def set(self, *, now: datetime | None = None, speed: float | None = None) -> None:
        """What the world's time is from here on, and how many of its seconds pass in one; 0: it stands still."""
        self._then, self._since = now or self.now(), self.machine()
        self._speed = self._speed if speed is None else speed
