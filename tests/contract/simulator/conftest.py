"""A simulator of the test's own, on a clock that stands still until it is told to advance."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.contract.simulator.caller import SETTINGS, START, Caller


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> SimulatorSettings:
    return getattr(request, "param", SETTINGS)


@pytest.fixture
async def caller(settings: SimulatorSettings) -> AsyncIterator[Caller]:
    async with (
        Simulator(settings, clock=lambda: START) as simulator,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
    ):
        yield Caller(simulator, session)
