"""The strict side of the API: a request is as the documentation says, to the letter, or an `ApiError`."""

import re
from datetime import date, datetime, timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec

from streamer.sandbox.entities import ENTITY_TYPES

LATEST_END = timedelta(minutes=5)
LONGEST_WINDOW = timedelta(days=180)
# Profiles belong to a chain, everything else to an enterprise: "which one is used depends on EntityType".
CHAIN_TYPES = frozenset({"Customer", "Company"})

Text = Annotated[str, msgspec.Meta(min_length=1)]
Ids = Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=1000)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class ApiError(Exception):
    """An answer of an error status; `details` is for developers."""

    def __init__(self, code: int, message: str, details: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.retry_after = retry_after


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """What is not named is not accepted."""


class Interval(Strict, frozen=True, kw_only=True):
    start_utc: Instant
    end_utc: Instant


class Posting(Strict, frozen=True, kw_only=True):
    start: date
    end: date


class LedgerEntryFilters(Strict, frozen=True, kw_only=True):
    posting: Posting


class Filters(Strict, frozen=True, kw_only=True):
    updated_utc: Interval | None = None
    ledger_entry_filters: LedgerEntryFilters | None = None


class Scope(Strict, frozen=True, kw_only=True):
    enterprise_ids: Ids | None = None
    chain_ids: Ids | None = None


class Credentials(Strict, frozen=True, kw_only=True):
    client_token: Text
    access_token: Text
    client: Text
    language_code: Text | None = None
    culture_code: Text | None = None


class AddRequest(Credentials, frozen=True, kw_only=True):
    entity_type: Text
    scope: Scope | None = None
    filters: Filters | None = None

    @property
    def updated(self) -> Interval | None:
        return self.filters.updated_utc if self.filters else None

    @property
    def posting(self) -> Posting | None:
        ledger = self.filters.ledger_entry_filters if self.filters else None
        return ledger.posting if ledger else None


class GetAllRequest(Credentials, frozen=True, kw_only=True):
    export_ids: Ids


R = TypeVar("R", AddRequest, GetAllRequest)


def credentials(body: object) -> tuple[str, str]:
    """The client token and the access token of any request."""
    if not isinstance(body, dict):
        raise ApiError(400, "Invalid JSON", "an object is expected")
    for name in ("ClientToken", "AccessToken", "Client"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise ApiError(400, f"Invalid {name}")
    return body["ClientToken"], body["AccessToken"]


def add_request(body: object, now: datetime, *, filters_refused: bool = False) -> AddRequest:
    request = _converted(body, AddRequest)
    if request.entity_type not in ENTITY_TYPES:
        raise ApiError(400, "Invalid EntityType")
    if filters_refused:
        _refuse_filters(request)
    _check_scope(request.entity_type, request.scope or Scope())
    _check_filters(request.entity_type, request.filters or Filters(), now)
    return request


def get_all_request(body: object) -> GetAllRequest:
    return _converted(body, GetAllRequest)


def _refuse_filters(request: AddRequest) -> None:
    if request.scope is not None:
        raise ApiError(400, "Invalid Scope")
    if request.filters is not None and request.filters.updated_utc is not None:
        raise ApiError(400, "Invalid Filters.UpdatedUtc")
    if request.filters is not None and request.entity_type != "LedgerEntry":
        raise ApiError(400, "Invalid Filters")


def _check_scope(entity_type: str, scope: Scope) -> None:
    if entity_type in CHAIN_TYPES and scope.enterprise_ids is not None:
        raise ApiError(400, "Invalid Scope.EnterpriseIds", f"{entity_type} belongs to a chain")
    if entity_type not in CHAIN_TYPES and scope.chain_ids is not None:
        raise ApiError(400, "Invalid Scope.ChainIds", f"{entity_type} belongs to an enterprise")


def _check_filters(entity_type: str, filters: Filters, now: datetime) -> None:
    ledger, updated = filters.ledger_entry_filters, filters.updated_utc
    if (entity_type == "LedgerEntry") is (ledger is None):
        raise ApiError(400, "Invalid Filters.LedgerEntryFilters")
    if ledger is not None and ledger.posting.start > ledger.posting.end:
        raise ApiError(400, "Invalid Filters.LedgerEntryFilters.Posting")
    if updated is None:
        return
    if entity_type == "LedgerEntry":
        raise ApiError(400, "Invalid Filters.UpdatedUtc", "ledger entries are never updated")
    if updated.start_utc > updated.end_utc or updated.end_utc - updated.start_utc > LONGEST_WINDOW:
        raise ApiError(400, "Invalid Filters.UpdatedUtc", "the interval is at most 180 days, and not backwards")
    if updated.end_utc > now - LATEST_END:
        raise ApiError(400, "Invalid Filters.UpdatedUtc.EndUtc", "the end is at least 5 minutes in the past")


def _converted(body: object, kind: type[R]) -> R:
    try:
        request = msgspec.convert(body, kind)
    except msgspec.ValidationError as exc:
        raise ApiError(400, f"Invalid {_parameter(str(exc))}", str(exc)) from exc
    if (request.language_code is None) is not (request.culture_code is None):
        raise ApiError(400, "Invalid LanguageCode")
    return request


def _parameter(complaint: str) -> str:
    """The parameter that msgspec complains about: `... unknown field `X` - at `$.Filters`` is `Filters.X`."""
    path = re.search(r"at `\$\.?([^`]*)`", complaint)
    field = re.search(r"field `([^`]*)`", complaint)
    return ".".join(part for part in (path and path[1], field and field[1]) if part) or "request"
