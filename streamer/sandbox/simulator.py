"""The Mews export API on this machine: strict where the documentation is, and in trouble to order.

async with Simulator(SimulatorSettings(files=2)) as simulator:
    simulator.add_fault(FaultRule(on="file", action=Cut(at_byte=1000)))
    ...  # talk to simulator.url
"""

from typing import Self

import structlog
from aiohttp import web

from streamer.sandbox.simulation import Simulation
from streamer.sandbox.simulator_app import simulator_app

log = structlog.get_logger(__name__)

# Whoever is still being served when the simulator stops is cut off after this.
STOP_SECONDS = 0.05


class Simulator(Simulation):
    """A simulation that listens, as long as its context lasts."""

    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        # A client that leaves ends its request here too: held and stalled answers do not pile up.
        self._runner = web.AppRunner(
            simulator_app(self), handler_cancellation=True, access_log=None, shutdown_timeout=STOP_SECONDS
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self.settings.host, self.settings.port).start()
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"
        log.info("simulator_listens", url=self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self.background):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
