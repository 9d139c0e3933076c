"""The words of the project as values: connections, entity types, streams, exports, files, windows.

Everything here is immutable and knows nothing of HTTP, Kafka, clocks or settings.
"""

from __future__ import annotations

import enum
import re
from datetime import datetime
from typing import NewType, Self

import msgspec

ConnectionName = NewType("ConnectionName", str)
"""Name of one Mews access token with its settings."""

CONNECTION_NAME = re.compile(r"[a-z0-9-]{1,40}")

ExportId = NewType("ExportId", str)
"""Mews' id of an export, a lower-case UUID."""

Shard = NewType("Shard", int)
"""A partition of the checkpoint topic, and all the streams whose keys hash to it."""


class EntityType(enum.StrEnum):
    """What kind of entity an export holds, spelt as Mews spells it (operations/exports)."""

    ORDER_ITEM = "OrderItem"
    PAYMENT = "Payment"
    RESERVATION = "Reservation"
    CUSTOMER = "Customer"
    COMPANY = "Company"
    BILL = "Bill"
    AVAILABILITY_ADJUSTMENT = "AvailabilityAdjustment"
    AVAILABILITY_BLOCK = "AvailabilityBlock"
    RESOURCE_BLOCK = "ResourceBlock"
    LEDGER_ENTRY = "LedgerEntry"

    @property
    def slug(self) -> str:
        """The type as a part of a topic's name: ``OrderItem`` is ``order-item``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", self.value).lower()


PUBLIC_ENTITY_TYPES = tuple(t for t in EntityType if t is not EntityType.LEDGER_ENTRY)
"""The nine types without the beta one: what a connection follows unless it says otherwise."""


class StreamKey(msgspec.Struct, frozen=True, order=True):
    """One connection and one entity type: the identity of an endless sequence of exports."""

    connection: ConnectionName
    entity_type: EntityType

    def __str__(self) -> str:
        return f"{self.connection}/{self.entity_type.value}"

    @property
    def source(self) -> str:
        """CloudEvents ``source`` of everything published for this stream."""
        return f"/mews/{self.connection}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The stream that ``str()`` of a key names; ``ValueError`` where it names none."""
        connection, _, entity_type = text.partition("/")
        if not CONNECTION_NAME.fullmatch(connection):
            raise ValueError(f"{connection!r} is no name of a connection")
        return cls(ConnectionName(connection), EntityType(entity_type))


class ExportKind(enum.StrEnum):
    """What an export was asked to hold."""

    SNAPSHOT = "snapshot"
    WINDOW = "window"


class Window(msgspec.Struct, frozen=True):
    """The half-open interval ``[start, end)`` of update time that an export covers; both aware, in UTC."""

    start: datetime
    end: datetime


class Secret:
    """A token or password: shows itself to nobody but ``reveal``."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself, to be handed to a client and to nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


class ExportStatus(enum.StrEnum):
    """How far Mews is with an export. ``UNKNOWN`` stands for a status that this version has never heard of."""

    PENDING = "Pending"
    PROCESSING = "Processing"
    SUCCESS = "Success"
    FAILED = "Failed"
    EXPIRED = "Expired"
    UNKNOWN = "unknown"


class Link:
    """A signed URL: good for ten minutes, and a secret, so it shows itself to nobody but ``reveal``."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def reveal(self) -> str:
        """The URL as Mews sent it, to be handed to the HTTP client unaltered."""
        return self._url

    @property
    def name(self) -> str:
        """Last segment of the path: with position and size the lasting identity of a file, and no secret."""
        return self._url.partition("?")[0].rpartition("/")[2]

    def __repr__(self) -> str:
        return f"Link({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Link) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)


class ExportFile(msgspec.Struct, frozen=True):
    """One downloadable part of an export. ``size`` in bytes, as Mews announces it."""

    link: Link
    size: int

    @property
    def name(self) -> str:
        return self.link.name


class Export(msgspec.Struct, frozen=True):
    """What Mews last said of an export. ``raw_status`` keeps the word of an unknown status.

    ``entity_type`` and ``window`` are what it is of, as far as Mews says so: ``""`` where it doesn't, ``None`` also
    for a snapshot, and for a filter that can't be read.
    """

    id: ExportId
    status: ExportStatus
    files: tuple[ExportFile, ...] = ()
    expires_at: datetime | None = None
    raw_status: str = ""
    entity_type: str = ""
    window: Window | None = None
