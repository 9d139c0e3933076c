"""What is measured, and what it came to: words that all of the benchmark shares."""

from __future__ import annotations

from typing import Any

import msgspec

CONNECTION = "benchmark"
ENTITY_TYPES = ("Reservation", "Customer", "Bill", "OrderItem")
"""Those that exports are made of; one alone is the first."""


class Setting(msgspec.Struct, frozen=True):
    """What all ways have in common; ``export_bytes`` are those of each export, in so many equal ``files``."""

    line_bytes: int
    compression: str
    export_bytes: int
    files: int
    headers: bool
    partitions: int

    @property
    def file_bytes(self) -> int:
        """Of each file: whole lines, and as many in all of them."""
        return self.export_bytes // self.files // (self.line_bytes + 1) * (self.line_bytes + 1)

    @property
    def lines(self) -> int:
        """Of each export."""
        return self.file_bytes // (self.line_bytes + 1) * self.files

    def told(self) -> dict[str, Any]:
        """As it goes into each run."""
        return msgspec.structs.asdict(self)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one run took. ``startup_cpu_seconds`` come before ``cpu_seconds`` and are not part of them."""

    line_bytes: int
    compression: str
    export_bytes: int
    files: int
    headers: bool
    partitions: int
    way: str
    streams: int = 1
    processes: int = 1
    records: int
    seconds: float
    first_seconds: float | None = None
    """When the first of several exports was complete; ``seconds`` when all of them were."""
    cpu_seconds: float
    startup_cpu_seconds: float
    peak_bytes: int
    """Of the largest process."""
    late_seconds: float | None = None
    """No step of the event loop came later, by the daemon's own metric."""
    waited_seconds: float | None = None
    """For how long its main thread could have run, and others had the CPU: of a machine with other work, much."""
    stolen_seconds: float | None = None
    """For how long the processors of the machine were others', if it is a virtual one."""
    sleeper_late_seconds: float | None = None
    """How late a program was, at worst, that only slept on the same CPU (``sleeper.py``)."""
    wrong: str
    """What is wrong with the result; empty if the counts are exact."""

    @property
    def setting(self) -> Setting:
        """What it has in common with others."""
        return Setting(self.line_bytes, self.compression, self.export_bytes, self.files, self.headers, self.partitions)

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.records * (self.line_bytes + 1) / self.seconds / 1e6

    @property
    def cpu_microseconds(self) -> float:
        """Of a record."""
        return self.cpu_seconds / self.records * 1e6
