"""The adapter and the reader over it, against the whole platform in trouble."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from streamer.core.backoff import BackoffPolicy
from streamer.errors import AccessRefusedError, AddRejectedError, ExportLostError, MewsUnavailableError
from streamer.mews.api import MewsApi
from streamer.mews.client import api_session, file_session
from streamer.mews.downloads import Downloads
from streamer.mews.limits import RequestLimit
from streamer.mews.polling import ExportPolls
from streamer.model import ConnectionName, EntityType, Export, ExportStatus, Secret
from streamer.sandbox import faults
from streamer.sandbox.faults import FaultRule
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from streamer.service.reading import FileReader
from tests.unit.mews.virtual_clock import VirtualClock

FILES = [b"".join(b'{"Id":"%d"}\n' % n for n in range(start, start + 3000)) for start in (0, 3000)]
SIZE = len(FILES[0])


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorSettings(entities=10)) as simulator:
        simulator.set_data("Bill", FILES)
        yield simulator


class Connection:
    """All that is between a stream and its platform."""

    def __init__(self, simulator: Simulator, calls: ClientSession, downloads: ClientSession, access_token: str) -> None:
        self.clock = VirtualClock()
        self.api = MewsApi(
            session=calls,
            connection=ConnectionName("alpine"),
            platform_url=simulator.url,
            client_token=Secret("demo-client-token"),
            access_token=Secret(access_token),
            client="streamer 0",
            limit=RequestLimit(clock=self.clock, sleep=self.clock.sleep, random=lambda: 0.0),
            clock=self.clock,
        )
        self.polls = ExportPolls(self.api, sleep=self.clock.sleep)
        self.reader = FileReader(
            links=self.polls,
            files=Downloads(downloads, clock=time.monotonic, allow_http=True),
            clock=self.clock,
            sleep=self.clock.sleep,
            random=lambda: 0.0,
            backoff=BackoffPolicy(),
        )

    async def ready(self, simulator: Simulator) -> Export:
        added = (await self.api.add(EntityType.BILL)).export
        simulator.advance(60)
        export = await self.polls.fetch(added.id)
        assert export is not None
        return export

    async def read(self, export: Export, index: int = 0) -> bytes:
        reading = self.reader.read(export, index, fetched_at=self.clock.now)
        return b"".join([chunk async for chunk in reading.chunks()])


@pytest.fixture
async def connection(simulator: Simulator) -> AsyncIterator[Connection]:
    async with api_session("0") as calls, file_session("0", stall_seconds=0.2) as downloads:
        connection = Connection(simulator, calls, downloads, "demo-access-token")
        yield connection
        await connection.polls.close()


async def test_an_export_is_asked_for_polled_and_read(simulator: Simulator, connection: Connection) -> None:
    export = await connection.ready(simulator)
    assert export.status is ExportStatus.SUCCESS
    assert [await connection.read(export, index) for index in (0, 1)] == FILES
    assert connection.clock.slept == [0.1]


async def test_a_second_export_of_the_type_is_rejected_in_mews_words(connection: Connection) -> None:
    await connection.api.add(EntityType.BILL)
    with pytest.raises(AddRejectedError, match="Request-Id"):
        await connection.api.add(EntityType.BILL)


async def test_a_platform_that_refuses_unknown_ids_still_tells_of_the_others() -> None:
    settings = SimulatorSettings(entities=10, unknown_ids="refused")
    async with (
        Simulator(settings) as simulator,
        api_session("0") as calls,
        file_session("0") as downloads,
    ):
        connection = Connection(simulator, calls, downloads, "demo-access-token")
        added = (await connection.api.add(EntityType.BILL)).export
        unknown = type(added.id)("00000000-0000-4000-8000-000000000000")
        assert set(await connection.api.get_all([unknown, added.id])) == {added.id}
        assert await connection.api.get_all([unknown]) == {}


async def test_a_wrong_token_is_refused(simulator: Simulator) -> None:
    async with api_session("0") as calls, file_session("0") as downloads:
        with pytest.raises(AccessRefusedError, match="401"):
            await Connection(simulator, calls, downloads, "wrong").api.add(EntityType.BILL)


async def test_an_add_whose_answer_is_lost_has_been_accepted(simulator: Simulator, connection: Connection) -> None:
    simulator.add_fault(FaultRule(on="add", action=faults.Lost()))
    with pytest.raises(MewsUnavailableError, match="may have been accepted"):
        await connection.api.add(EntityType.BILL)
    with pytest.raises(AddRejectedError):
        await connection.api.add(EntityType.BILL)


@pytest.mark.parametrize(
    "action",
    [faults.ExtraFields(), faults.UnknownEntityType(), faults.EarlyFiles()],
    ids=lambda action: type(action).__name__,
)
async def test_odd_answers_are_understood(simulator: Simulator, connection: Connection, action: faults.Action) -> None:
    simulator.add_fault(FaultRule(on="add", action=action))
    simulator.add_fault(FaultRule(on="get_all", action=action))
    export = await connection.ready(simulator)
    assert export.status in (ExportStatus.SUCCESS, ExportStatus.PENDING)


async def test_an_unheard_of_status_is_told_as_such(simulator: Simulator, connection: Connection) -> None:
    simulator.add_fault(FaultRule(on="get_all", action=faults.UnknownStatus()))
    export = await connection.ready(simulator)
    assert (export.status, export.raw_status) == (ExportStatus.UNKNOWN, "Archived")


async def test_links_that_have_expired_are_replaced(simulator: Simulator, connection: Connection) -> None:
    export = await connection.ready(simulator)
    simulator.advance(700)
    assert await connection.read(export) == FILES[0]


async def test_an_export_that_expires_half_way_is_told_apart(simulator: Simulator, connection: Connection) -> None:
    simulator.add_fault(FaultRule(on="file", action=faults.ExpireExport(at_byte=SIZE // 2)))
    export = await connection.ready(simulator)
    with pytest.raises(ExportLostError) as caught:
        await connection.read(export)
    assert caught.value.expired


async def test_an_export_that_fails_half_way_is_lost(simulator: Simulator, connection: Connection) -> None:
    simulator.add_fault(FaultRule(on="file", action=faults.FailExport(at_byte=SIZE // 2)))
    export = await connection.ready(simulator)
    with pytest.raises(ExportLostError, match="export failed"):
        await connection.read(export)


async def test_a_file_that_changes_half_way_is_lost(simulator: Simulator, connection: Connection) -> None:
    simulator.add_fault(FaultRule(on="file", action=faults.Cut(at_byte=SIZE // 2)))
    simulator.add_fault(FaultRule(on="file", skip=1, action=faults.ChangedEtag()))
    export = await connection.ready(simulator)
    with pytest.raises(ExportLostError, match="file changed"):
        await connection.read(export)


BREAKS = [
    faults.Cut(at_byte=0),
    faults.Cut(at_byte=SIZE // 3),
    faults.Cut(at_byte=SIZE - 1),
    faults.Short(at_byte=SIZE // 3),
    faults.Short(at_byte=SIZE // 3, chunked=True),
    faults.Stall(at_byte=SIZE // 3),
    faults.Status(code=503, retry_after=7),
    faults.Status(code=429, retry_after=7, retry_after_date=True),
    faults.Status(code=200, body="empty"),
    faults.NoContent(),
    faults.Reset(),
    faults.Lost(),
    faults.LinkExpired(),
    faults.Redirect(),
]
ODDITIES = [None, faults.IgnoreRange(), faults.WrongContentRange(by=-1), faults.Gzip(), faults.NoEtag()]


@pytest.mark.parametrize("broken", BREAKS, ids=lambda action: type(action).__name__)
@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda action: type(action).__name__)
async def test_whatever_happens_on_the_way_the_bytes_are_the_same(
    simulator: Simulator, connection: Connection, broken: faults.Action, oddity: faults.Action | None
) -> None:
    simulator.add_fault(FaultRule(on="file", action=broken))
    simulator.add_fault(FaultRule(on="file", skip=1, action=faults.Cut(at_byte=SIZE // 2)))
    if oddity is not None:
        simulator.add_fault(FaultRule(on="file", action=oddity, times=None))
    export = await connection.ready(simulator)
    assert await connection.read(export) == FILES[0]
