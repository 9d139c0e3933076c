"""Calls the two operations of the exports API, and turns each way in which they fail into one of our errors.

Three things a newcomer would get wrong. ``exports/add`` is not idempotent and what it accepted can't be
listed: an error other than ``AddRejectedError``, ``AccessRefusedError`` and ``RateLimitedError`` leaves open
whether there is an export now. A request for a snapshot of everything carries the four documented fields and
no more, because accounts without ``Scope`` and ``Filters`` reject the mere names. And no answer is trusted
with a token: redirects are not followed.

Nothing here retries; that is decided by those who call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import structlog
import yarl

from streamer.core.scope import EVERYTHING, Scope
from streamer.core.windows import whole_days
from streamer.errors import (
    AccessRefusedError,
    AddRejectedError,
    MewsUnavailableError,
    RateLimitedError,
    StreamerError,
)
from streamer.mews.answers import decode_added, decode_listed, decode_reason
from streamer.mews.client import describe
from streamer.mews.headers import request_id, retry_after, server_date
from streamer.mews.limits import RequestLimit
from streamer.model import ConnectionName, EntityType, Export, ExportId, Secret, Window

IDS_PER_CALL = 1000
"""What ``exports/getAll`` takes at most (operations/exports)."""

LONGEST_ANSWER_BYTES = 64 * 1024 * 1024
"""A thousand exports of some hundred files each are below that; anything longer is not from Mews."""

_MOVED_FOR_GOOD = frozenset({301, 308})
_REFUSED = frozenset({401, 403, 404, 410})

_log = structlog.get_logger()


class Accepted(msgspec.Struct, frozen=True):
    """An export that Mews has accepted.

    ``asked_at`` is the time at Mews when it was asked for, or a little earlier; ``None`` where the answer has no date.
    """

    export: Export
    asked_at: datetime | None


class _Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    headers: Mapping[str, str]
    seconds: float
    """From the question to the end of the answer."""

    @property
    def asked_at(self) -> datetime | None:
        """The latest time at Mews that can't be after the question."""
        date = server_date(self.headers)
        return date - timedelta(seconds=self.seconds) if date else None

    def __str__(self) -> str:
        return f"status {self.status}, Request-Id {request_id(self.headers)}"

    @contextmanager
    def named(self, operation: str) -> Iterator[None]:
        """Says of an unusable body which answer of Mews it was."""
        try:
            yield
        except MewsUnavailableError as error:
            raise MewsUnavailableError(f"{operation}: {error} ({self})") from None


def add_fields(entity_type: EntityType, window: Window | None, scope: Scope) -> dict[str, object]:
    """What ``exports/add`` takes beside the credentials; nothing that isn't needed (operations/exports)."""
    fields: dict[str, object] = {"EntityType": entity_type.value}
    mine = scope.of(entity_type)
    if mine.enterprise_ids:
        fields["Scope"] = {"EnterpriseIds": mine.enterprise_ids}
    elif mine.chain_ids:
        fields["Scope"] = {"ChainIds": mine.chain_ids}
    if window is None:
        return fields
    if entity_type is EntityType.LEDGER_ENTRY:
        first, last = whole_days(window)
        fields["Filters"] = {"LedgerEntryFilters": {"Posting": {"Start": first, "End": last}}}
    else:
        fields["Filters"] = {"UpdatedUtc": {"StartUtc": _utc(window.start), "EndUtc": _utc(window.end)}}
    return fields


def _utc(moment: datetime) -> str:
    """As Mews writes a time (guidelines/serialization)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class MewsApi:
    """The exports API as one connection sees it; all calls of its token go through one of these."""

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        connection: ConnectionName,
        platform_url: str,
        client_token: Secret,
        access_token: Secret,
        client: str,
        limit: RequestLimit,
        clock: Callable[[], float],
    ) -> None:
        """``session`` as ``api_session`` builds it, shared or not; ``client`` is name and version of this
        program, as Mews asks for (guidelines/authentication); ``clock`` in seconds, never going back.
        """
        self._session = session
        self._address = yarl.URL(platform_url.rstrip("/") + "/api/connector/v1/")
        self._tokens = (client_token, access_token)
        self._client = client
        self._limit = limit
        self._clock = clock
        self._log = _log.bind(connection=connection)
        self._dated: tuple[datetime, float] | None = None

    @property
    def server_now(self) -> datetime | None:
        """The time at Mews, aware, in UTC, late by up to a second and an answer's way; ``None`` before any
        answer.

        Windows are cut by this one, because it is Mews' clock that decides what is "5 minutes in the past".
        """
        if self._dated is None:
            return None
        date, at = self._dated
        return date + timedelta(seconds=self._clock() - at)

    async def add(
        self,
        entity_type: EntityType,
        *,
        window: Window | None = None,
        scope: Scope = EVERYTHING,
        within: float | None = None,
    ) -> Accepted:
        """Ask for an export of this type: a snapshot, or what was updated in a window (of ``LedgerEntry``: posted).

        ``within``: give up without asking if the request can't leave in so many seconds.

        Raises ``AddRejectedError`` for a 400, most likely because an export of the type is running;
        ``AccessRefusedError``; ``RateLimitedError`` and ``NotAskedError``, after which there is no new export;
        ``MewsUnavailableError``, after which there may be one.
        """
        try:
            answer = await self._call("exports/add", add_fields(entity_type, window, scope), within=within)
            if answer.status == 200:
                with answer.named("exports/add"):
                    return Accepted(decode_added(answer.body), answer.asked_at)
            reason = decode_reason(answer.body, secrets=[token.reveal() for token in self._tokens])
            if reason is None or not 400 <= answer.status < 500:
                raise MewsUnavailableError(f"exports/add: no usable answer ({answer})")
        except MewsUnavailableError as error:
            problem = f"{error}; the export may have been accepted"
            raise MewsUnavailableError(problem, retry_after=error.retry_after) from None
        raise AddRejectedError(f"{reason} (Request-Id {request_id(answer.headers)})")

    async def get_all(self, ids: Sequence[ExportId]) -> dict[ExportId, Export]:
        """What Mews says of these exports, with fresh links; those that it doesn't know are absent.

        What Mews does about an unknown id is not documented. So where it rejects several at once, each is
        asked for alone, and one that is rejected alone is absent too.

        Raises ``AccessRefusedError``, ``RateLimitedError``, ``MewsUnavailableError``.
        """
        found: dict[ExportId, Export] = {}
        for start in range(0, len(ids), IDS_PER_CALL):
            asked = ids[start : start + IDS_PER_CALL]
            listed = await self._listed(asked)
            if listed is None:
                self._log.warning("mews_rejected_export_ids", ids=len(asked))
                for export_id in asked:
                    found |= await self._listed([export_id]) or {}
            else:
                found |= listed
        return found

    async def _listed(self, ids: Sequence[ExportId]) -> dict[ExportId, Export] | None:
        """What is known of ``ids``; ``None`` where Mews rejects the question."""
        answer = await self._call("exports/getAll", {"ExportIds": ids})
        if answer.status == 204:
            return {}
        if answer.status == 200:
            with answer.named("exports/getAll"):
                listed = decode_listed(answer.body)
            return {i: listed[i] for i in ids if i in listed}
        if answer.status == 400 and decode_reason(answer.body) is not None:
            return None
        raise MewsUnavailableError(f"exports/getAll: no usable answer ({answer})")

    async def _call(self, operation: str, fields: Mapping[str, object], *, within: float | None = None) -> _Answer:
        """The answer, unless its status alone says what it means. Raises as the operations do."""
        await self._limit.admit(within=within)
        try:
            answer = await self._post(operation, msgspec.json.encode({**self._credentials(), **fields}))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Without the cause: aiohttp's own text may hold more than `describe` lets through.
            raise MewsUnavailableError(f"{operation}: {describe(error)}") from None
        if date := server_date(answer.headers):
            self._dated = (date, self._clock())
        self._log.debug(
            "mews_answered",
            operation=operation,
            status=answer.status,
            seconds=round(answer.seconds, 3),
            request_id=request_id(answer.headers),
        )
        if answer.status != 429:
            self._limit.accepted()
        if refusal := self._refusal(operation, answer):
            raise refusal
        return answer

    def _credentials(self) -> dict[str, object]:
        # Revealed for each call: a token may be replaced while we run.
        client_token, access_token = (token.reveal() for token in self._tokens)
        return {"ClientToken": client_token, "AccessToken": access_token, "Client": self._client}

    async def _post(self, operation: str, body: bytes) -> _Answer:
        address = self._address.join(yarl.URL(operation))
        headers = {"Content-Type": "application/json"}
        started = self._clock()
        async with self._session.post(address, data=body, headers=headers, allow_redirects=False) as response:
            pieces = []
            room = LONGEST_ANSWER_BYTES
            async for piece in response.content.iter_any():
                pieces.append(piece)
                room -= len(piece)
                if room < 0:
                    raise MewsUnavailableError(f"{operation}: an answer over {LONGEST_ANSWER_BYTES} bytes")
            return _Answer(response.status, b"".join(pieces), response.headers, self._clock() - started)

    def _refusal(self, operation: str, answer: _Answer) -> StreamerError | None:
        status = answer.status
        if status in _REFUSED:
            reason = decode_reason(answer.body, secrets=[token.reveal() for token in self._tokens])
            return AccessRefusedError(f"{operation}: {reason or 'refused'} ({answer})")
        if status == 429:
            wait = self._limit.refused(retry_after(answer.headers))
            return RateLimitedError(f"{operation}: too many requests ({answer})", retry_after=wait)
        if status in _MOVED_FOR_GOOD:
            # The tokens go to the configured address or nowhere, so only a person can help.
            return AccessRefusedError(f"{operation}: the platform has moved to another address ({answer})")
        if 300 <= status < 400 or status == 408 or status >= 500:
            # A passing redirect is a login or maintenance page of something in between.
            problem = f"{operation}: no answer from Mews ({answer})"
            return MewsUnavailableError(problem, retry_after=retry_after(answer.headers))
        return None
