"""The life of an export, decided by the clock: `Pending`, `Processing`, `Success`, in the end `Expired`."""

from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import msgspec

from streamer.sandbox.export_files import ExportFile
from streamer.sandbox.faults import SpoilLine


class Status(Enum):
    PENDING = "Pending"
    PROCESSING = "Processing"
    SUCCESS = "Success"
    FAILED = "Failed"
    EXPIRED = "Expired"


class Delays(msgspec.Struct, frozen=True):
    pending: timedelta
    processing: timedelta
    retention: timedelta


class Export(msgspec.Struct):
    id: str
    access_token: str
    entity_type: str
    scope: dict[str, Any]
    filters: dict[str, Any] | None
    requested_at: datetime  # by the world's clock
    since: datetime  # the same by the machine's clock, as all that follows from it
    delays: Delays
    files: list[ExportFile] = []
    moment: datetime | None = None  # in the world's time: the one whose data it holds; None: not looked at them yet
    spoiled: tuple[SpoilLine, ...] = ()
    decreed: Status | None = None  # what somebody decided over the head of the clock

    def __repr__(self) -> str:
        return f"<Export {self.id} of {self.entity_type}>"

    @property
    def ready_at(self) -> datetime:
        return self.since + self.delays.pending + self.delays.processing

    @property
    def expires_at(self) -> datetime:
        return self.ready_at + self.delays.retention

    def status(self, now: datetime) -> Status:
        if self.decreed is not None:
            return self.decreed
        if now < self.since + self.delays.pending:
            return Status.PENDING
        if now < self.ready_at:
            return Status.PROCESSING
        return Status.SUCCESS if now < self.expires_at else Status.EXPIRED

    def is_running(self, now: datetime) -> bool:
        return self.status(now) in {Status.PENDING, Status.PROCESSING}

    def file_name(self, index: int) -> str:
        return f"{self.id}-{index}.jsonl"
