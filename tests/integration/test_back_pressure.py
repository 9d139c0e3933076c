"""Slow brokers, slow file hosts, and more streams than places: what is in hand stays bounded, and nobody starves.

Outcomes alone; how long probes take meanwhile is measured by ``benchmarks`` and told in ``docs/reliability.md``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from streamer.model import PUBLIC_ENTITY_TYPES, EntityType
from streamer.sandbox import faults
from streamer.sandbox.faults import FaultRule
from streamer.sandbox.local_kafka import LocalKafka
from streamer.sandbox.simulator import Simulator
from tests.brokers import Kafka
from tests.proxy import Proxy
from tests.replica import INSTANT, check_published, running, see, settings_for
from tests.stage import quick_waits, stage

PATIENCE = 120.0
MEGABYTE = 1_000_000
BLOCK_BYTES = 500_000


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    # What is held back has to stay so for as long as a test wants.
    with quick_waits(stall_seconds=2 * PATIENCE):
        yield


async def test_a_broker_that_takes_a_megabyte_a_second_holds_the_download_back(
    local_kafka: LocalKafka, prefix: str
) -> None:
    # More than the sockets on the way hold.
    size = 15 * MEGABYTE
    line = b'{"Id":"%07d","Text":"' + b"%s" + b'"}\n'
    # As hard to compress as it is long.
    content = b"".join(line % (n, _noise(n).encode()) for n in range(size // 1000))
    async with Simulator(INSTANT) as mews:
        mews.set_data(EntityType.RESERVATION, [content])
        proxy = Proxy(local_kafka.proxied_port, local_kafka.port_behind_proxy, bytes_per_second=MEGABYTE)
        settings = settings_for(
            local_kafka.proxied_bootstrap_servers,
            prefix,
            mews.url,
            kafka={"compression": "none"},
            exports={"transaction_bytes": BLOCK_BYTES},
        )
        async with proxy, running(settings) as replica:
            most = 0
            while not replica.row()["last_snapshot"]:
                most = max(most, mews.file_bytes_sent - int(replica.metric("bytes_total") or 0))
                await replica.until(lambda: True, "it lives")
                await asyncio.sleep(0.05)
            await replica.completed(within=PATIENCE)
            print(f"at most {most / MEGABYTE:.1f} MB sent by the host and not yet committed")
            # A block being sent, one that is gathered, one under way, and what sockets hold.
            assert most < 3 * BLOCK_BYTES + 8 * MEGABYTE < len(content)
            # Nobody thought that it was dead meanwhile, and no transaction took too long.
            assert replica.metrics.registry.get_sample_value("streamer_producer_restarts_total") == 0
            assert replica.metric("transactions_total", outcome="aborted") == 0
        check_published(mews, await see(local_kafka.bootstrap_servers, prefix))


def _noise(seed: int) -> str:
    value, text = seed * 2654435761 + 1, ""
    while len(text) < 960:
        value = value * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        text += f"{value:016x}"
    return text[:960]


async def test_a_file_host_that_sends_a_kilobyte_a_second_keeps_one_place_and_no_other_stream_waiting(
    kafka: Kafka, prefix: str
) -> None:
    slow, *others = PUBLIC_ENTITY_TYPES[:5]
    drip = FaultRule(on="file", action=faults.Drip(bytes_per_second=1000), file_index=2, entity_type=slow)
    async with stage(kafka, prefix, slow, *others, rules=[drip], exports={"max_active": 2}) as on:
        # Already in the slow file when the others come.
        await on.replica.completed(*others, within=PATIENCE)
        row = on.replica.row(slow)
        assert row["phase"] == "publishing"
        assert not row["last_snapshot"]
        await on.replica.completed(slow, within=PATIENCE)
        await on.see()
        # What came was committed as it came, and not when the file was whole.
        assert (on.replica.metric("transactions_total", slow, outcome="committed") or 0) > 6


async def test_no_more_exports_are_downloaded_at_once_than_allowed_and_each_gets_its_turn(
    kafka: Kafka, prefix: str
) -> None:
    hold = FaultRule(on="file", action=faults.Hold(), file_index=0, times=None)
    async with stage(kafka, prefix, *PUBLIC_ENTITY_TYPES, rules=[hold], exports={"max_active": 2}) as on:
        for entity_type in PUBLIC_ENTITY_TYPES:
            await on.replica.until(lambda kind=entity_type: _is_under_way(on.replica.row(kind)), "it is ready")  # type: ignore[misc]
        for _ in PUBLIC_ENTITY_TYPES:
            held = await on.simulator.held()
            assert len(held) <= 2
            on.simulator.release(held[0].id)
            await on.replica.until(lambda held=held[0]: _is_done(on.replica.row(EntityType(held.entity_type))), "done")  # type: ignore[misc]
        await on.replica.completed(*PUBLIC_ENTITY_TYPES)
        await on.see()


def _is_under_way(row: dict[str, object]) -> bool:
    return row["phase"] == "publishing"


def _is_done(row: dict[str, object]) -> bool:
    return row["phase"] == "idle" and bool(row["last_snapshot"])
