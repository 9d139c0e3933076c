"""What ``exports/add`` is asked for, and what Mews then tells of the export: held for the adapter before the simulator,
which is as strict as the documentation, and for the fake that the streams' tests ask.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from streamer.core.scope import EVERYTHING, Scope
from streamer.errors import AddRejectedError, RetriableError
from streamer.mews.api import MewsApi
from streamer.mews.client import api_session
from streamer.mews.limits import RequestLimit
from streamer.model import ConnectionName, EntityType, Export, ExportId, ExportStatus, Secret, Window
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from streamer.service.asking import Exports
from tests.memory_mews import MemoryMews
from tests.unit.mews.virtual_clock import VirtualClock

START = datetime(2026, 3, 10, 12, 0, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MIDNIGHT = START - 12 * HOUR
HALF_A_YEAR = Window(START - 180 * DAY - HOUR, START - HOUR)
DAYS = Window(MIDNIGHT - 3 * DAY, MIDNIGHT)


class Mews(Protocol):
    """One of the two."""

    @property
    def api(self) -> Exports: ...

    @property
    def enterprises(self) -> tuple[str, ...]: ...

    @property
    def chains(self) -> tuple[str, ...]: ...

    async def told(self, export_id: ExportId) -> Export | None:
        """What it says of an export, when that is done."""

    def scope_of(self, export_id: ExportId) -> Scope:
        """What it was asked for."""


class Fake:
    enterprises, chains = ("e-1", "e-2"), ("c-1",)

    def __init__(self) -> None:
        self.api = self._mews = MemoryMews([b'{"Id":"1"}\n'])
        self._mews.now = lambda: START

    async def told(self, export_id: ExportId) -> Export | None:
        return await self._mews.fetch(export_id)

    def scope_of(self, export_id: ExportId) -> Scope:
        return self._mews.asked[self._mews.added.index(export_id)][1]


class Real:
    def __init__(self, api: MewsApi, simulator: Simulator) -> None:
        self.api = self._api = api
        self._simulator = simulator
        self.enterprises = tuple(simulator.state()["enterprises"])
        self.chains = (simulator.state()["chain"],)

    async def told(self, export_id: ExportId) -> Export | None:
        self._simulator.advance(60)
        return (await self._api.get_all([export_id])).get(export_id)

    def scope_of(self, export_id: ExportId) -> Scope:
        asked = self._simulator.export(export_id).scope
        return Scope(tuple(asked["EnterpriseIds"] or ()), tuple(asked["ChainIds"] or ()))


@asynccontextmanager
async def a_fake() -> AsyncIterator[Mews]:
    yield Fake()


@asynccontextmanager
async def the_adapter() -> AsyncIterator[Mews]:
    clock = VirtualClock()
    world = SimulatorSettings(moving=True, start=START - DAY, speed=0.0, entities=30, cycle_seconds=86_400)
    async with Simulator(world) as simulator, api_session("0") as session:
        simulator.set_clock(now=START)
        api = MewsApi(
            session=session,
            connection=ConnectionName("alpine"),
            platform_url=simulator.url,
            client_token=Secret(world.client_token),
            access_token=Secret(world.access_tokens[0]),
            client="streamer 0",
            limit=RequestLimit(clock=clock, sleep=clock.sleep, random=lambda: 0.0),
            clock=clock,
        )
        yield Real(api, simulator)


@pytest.fixture(params=[a_fake, the_adapter], ids=["fake", "adapter"])
async def mews(request: pytest.FixtureRequest) -> AsyncIterator[Mews]:
    async with request.param() as mews:
        yield mews


ASKED: list[tuple[EntityType, Window | None]] = [
    (EntityType.RESERVATION, None),
    (EntityType.RESERVATION, Window(MIDNIGHT, START - timedelta(minutes=6))),
    (EntityType.CUSTOMER, HALF_A_YEAR),
    (EntityType.LEDGER_ENTRY, DAYS),
]


def knows_the_time(mews: Mews) -> bool:
    return mews.api.server_now is not None


@pytest.mark.parametrize(("entity_type", "window"), ASKED)
async def test_what_is_asked_for_is_what_mews_tells_of_the_export(
    mews: Mews, entity_type: EntityType, window: Window | None
) -> None:
    assert not knows_the_time(mews)
    accepted = await mews.api.add(entity_type, window=window, scope=EVERYTHING)
    assert accepted.export.status is ExportStatus.PENDING
    assert knows_the_time(mews)
    assert accepted.asked_at is not None
    assert START - timedelta(seconds=2) <= accepted.asked_at <= START
    done = await mews.told(accepted.export.id)
    assert done is not None
    assert (done.status, done.entity_type, done.window) == (ExportStatus.SUCCESS, entity_type.value, window)
    assert done.files
    assert mews.scope_of(accepted.export.id) == EVERYTHING


@pytest.mark.parametrize("window", [None, Window(START - HOUR, START - timedelta(minutes=6))], ids=["all", "window"])
async def test_a_type_is_asked_for_with_the_ids_that_it_takes(mews: Mews, window: Window | None) -> None:
    both = Scope(mews.enterprises[:2], mews.chains)
    for entity_type, expected in (
        (EntityType.BILL, Scope(enterprise_ids=mews.enterprises[:2])),
        (EntityType.COMPANY, Scope(chain_ids=mews.chains)),
    ):
        accepted = await mews.api.add(entity_type, window=window, scope=both.of(entity_type))
        assert mews.scope_of(accepted.export.id) == expected


async def test_what_could_leave_too_late_does_not_leave(mews: Mews) -> None:
    with pytest.raises(RetriableError):
        await mews.api.add(EntityType.BILL, window=None, scope=EVERYTHING, within=-0.1)
    assert not knows_the_time(mews)


REFUSED: list[tuple[EntityType, Window | None, dict[str, Any], str]] = [
    (EntityType.BILL, Window(START - HOUR, START - timedelta(minutes=4)), {}, r"Invalid Filters\.UpdatedUtc\.EndUtc"),
    (EntityType.BILL, Window(START - 181 * DAY, START - HOUR), {}, r"Invalid Filters\.UpdatedUtc"),
    (EntityType.BILL, None, {"enterprise_ids": ("00000000-0000-4000-8000-000000000000",)}, r"Invalid Scope"),
    (EntityType.LEDGER_ENTRY, None, {}, r"Invalid Filters\.LedgerEntryFilters"),
]


@pytest.mark.parametrize(("entity_type", "window", "ids", "reason"), REFUSED)
async def test_what_mews_refuses_comes_with_its_reason(
    entity_type: EntityType, window: Window | None, ids: dict[str, Any], reason: str
) -> None:
    async with the_adapter() as mews:
        with pytest.raises(AddRejectedError, match=reason):
            await mews.api.add(entity_type, window=window, scope=Scope(**ids))
