"""A simulator with the same three files for each type, and a replica that publishes them: for faults of all kinds."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from streamer.core.backoff import BackoffPolicy
from streamer.mews.client import file_session
from streamer.model import EntityType
from streamer.sandbox.faults import Action, FaultRule, FaultState
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.brokers import Kafka
from tests.replica import INSTANT, RunningReplica, Seen, check_published, running, see, settings_for

STALL_SECONDS = 0.4
RESERVATION, CUSTOMER = EntityType.RESERVATION, EntityType.CUSTOMER

LINES_PER_FILE = 60
FILES = [
    b"".join(b'{"Id":"%d-%d","Text":"%s"}\n' % (file, line, b"t" * (line * 3)) for line in range(LINES_PER_FILE))
    for file in range(3)
]
MIDDLE = len(FILES[1]) // 2
"""In the middle of a line of the middle file, which is the one that faults strike."""
LINES = LINES_PER_FILE * len(FILES)

WHOLE = ["export_requested", "export_ready", *["file_published"] * 3, "export_completed"]
"""What is told of an export that has come through."""


@contextlib.contextmanager
def quick_waits(*, stall_seconds: float = STALL_SECONDS) -> Iterator[None]:
    """Waits of tenths of seconds instead of seconds to minutes, and a stall limit that a test can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        again = BackoffPolicy(base=0.1, ceiling=0.5)
        patch.setattr("streamer.service.progress._RETRY", again)
        patch.setattr("streamer.service.stream._NEW_EXPORT", again)
        patch.setattr("streamer.service.streams._DOWNLOAD_AGAIN", again)
        patch.setattr("streamer.service.streams.file_session", partial(file_session, stall_seconds=stall_seconds))
        yield


class WatchedSimulator(Simulator):
    """A simulator that notes when it was asked."""

    def __init__(self, settings: SimulatorSettings) -> None:
        super().__init__(settings)
        self.calls: list[tuple[float, str]] = []

    def count(self, operation: str, entity_types: Sequence[str]) -> None:
        self.calls.append((time.monotonic(), operation))
        super().count(operation, entity_types)


@dataclasses.dataclass
class Stage:
    """A simulator with the same three files for each type, and a replica that publishes them."""

    simulator: WatchedSimulator
    replica: RunningReplica
    bootstrap_servers: str

    async def see(self) -> Seen:
        """All that is committed, once the verifier has found nothing to complain of."""
        seen = await see(self.bootstrap_servers, self.replica.config.topics.prefix)
        report = check_published(self.simulator, seen)
        assert report.records >= report.completed * LINES
        return seen

    def struck(self) -> None:
        """Every fault that was ordered has struck; else the test has shown nothing."""
        assert [state for state in self.simulator.fault_states() if not has_struck(state)] == []


def has_struck(state: FaultState) -> bool:
    return state.struck == (state.rule.times or state.struck) and state.struck > 0


@asynccontextmanager
async def stage(
    kafka: Kafka,
    prefix: str,
    *entity_types: EntityType,
    rules: Sequence[FaultRule] = (),
    simulator: Mapping[str, Any] | None = None,
    exports: Mapping[str, Any] | None = None,
    kafka_settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[Stage]:
    entity_types = entity_types or (RESERVATION,)
    async with WatchedSimulator(msgspec.structs.replace(INSTANT, **(simulator or {}))) as mews:
        for entity_type in entity_types:
            mews.set_data(entity_type, FILES)
        for rule in rules:
            mews.add_fault(rule)
        settings = settings_for(
            kafka.bootstrap_servers,
            prefix,
            mews.url,
            *entity_types,
            exports={"max_active": 9, **(exports or {})},
            kafka=kafka_settings,
        )
        async with running(settings) as replica:
            yield Stage(mews, replica, kafka.bootstrap_servers)


def on_file(*actions: Action) -> list[FaultRule]:
    """The first request for the middle file meets the first action, the second the second, and so on."""
    # A rule does not count the requests that met another one of its group.
    skips = [sum(a.group != b.group for a in actions[:place]) for place, b in enumerate(actions)]
    return [
        FaultRule(on="file", action=action, file_index=1, skip=skip)
        for skip, action in zip(skips, actions, strict=True)
    ]


def together(*actions: Action) -> list[FaultRule]:
    """One request for the middle file meets all of them."""
    return [FaultRule(on="file", action=action, file_index=1) for action in actions]
