"""Without transactions: the daemon as a process, killed, frozen and overtaken; nothing is lost, repeats are the same.

The proxy before the broker holds back the write of a checkpoint: what it speaks of is acknowledged by then.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.core.record_format import NO_HEADERS
from streamer.kafka.acknowledged import acknowledged_producer
from streamer.kafka.topics import prepare_topics
from streamer.sandbox.local_kafka import LocalKafka
from tests.brokers import Kafka
from tests.committed import read_committed
from tests.contract.committed import committed
from tests.contract.kafka_settings import settings_for
from tests.daemon import PATIENCE, Row
from tests.facts import Published
from tests.processes import streamer
from tests.proxy import Api, Proxy, Request, Wanted, request
from tests.repeats import Consumed, without_repeats
from tests.scene import ENVIRONMENT, Scene, staged

TYPE = "Reservation"
LINES = 2000
SIZE = 3_400_000
"""About so many bytes have these lines of this type."""


@pytest.fixture(autouse=True)
def at_least_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting for every process that the test starts."""
    monkeypatch.setenv("STREAMER_KAFKA_DELIVERY", "at_least_once")
    # With it, what is repeated after a crash in the first block would be left out as unchanged.
    monkeypatch.setenv("STREAMER_EXPORTS_RECONCILE", "false")


def checkpoint_after(topic: str, *, checkpoints: str, skip: int = 0) -> Wanted:
    """The write of a checkpoint that follows a write to the topic, after ``skip`` of such."""
    follows = False
    skipped = 0

    def wanted(seen: Request) -> bool:
        nonlocal follows, skipped
        if seen.api != Api.PRODUCE:
            return False
        assert seen.transactional_id is None
        if not seen.names(checkpoints):
            follows = follows or seen.names(topic)
            return False
        skipped += follows
        caught, follows = follows and skipped > skip, False
        return caught

    return wanted


class Consumer:
    """Drops repeats before the verifier looks, and remembers how many there were."""

    def __init__(self, prefix: str) -> None:
        self.consumed: Consumed | None = None
        self._prefix = prefix

    def __call__(self, published: Published) -> Published:
        self.consumed = without_repeats(published, prefix=self._prefix)
        return self.consumed.published

    @property
    def repeats(self) -> tuple[int, int, int]:
        """Of records, of events, and checkpoints that were ignored."""
        assert self.consumed is not None
        return self.consumed.records, self.consumed.events, self.consumed.stale


def bytes_done(row: Row) -> int:
    """How much of the export under way is committed."""
    return row["export"]["bytes"] if row["phase"] == "publishing" else 0


async def test_a_run_without_a_crash_repeats_nothing_also_where_it_is_ended_and_started_again(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, simulated={"bytes_per_second": 1e6}) as scene:
        daemon = await scene.start()
        await daemon.until(lambda rows: bytes_done(rows[scene.stream()]) > 0, "a block was committed")
        page = await daemon.page("/metrics")
        assert outcomes(page, "committed") >= 4
        assert outcomes(page, "aborted") == 0
        assert (await daemon.terminate()).code == 0
        # The verifier, as it is, finds every repeat.
        report = await scene.finish(await scene.start())
        assert (report.completed, report.records) == (1, LINES)
        assert scene.proxy.passed[Api.END_TXN] == scene.proxy.passed[Api.ADD_PARTITIONS_TO_TXN] == 0


def outcomes(page: str, outcome: str) -> float:
    """How many blocks had it, as ``/metrics`` tells."""
    (line,) = [
        line
        for line in page.splitlines()
        if line.startswith("streamer_transactions_total{") and f'outcome="{outcome}"' in line
    ]
    return float(line.split()[-1])


async def test_killed_before_the_checkpoint_of_records_that_are_acknowledged_it_repeats_them_and_loses_none(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        consumer = Consumer(prefix)
        for blocks_before in (0, 1, 2):
            wanted = checkpoint_after(scene.topic(TYPE), checkpoints=scene.checkpoints, skip=blocks_before)
            trap = scene.proxy.hold(wanted)
            daemon = await scene.start()
            await trap.held()
            await scene.kill(daemon)
        report = await scene.finish(await scene.start(), consumer)
        assert (scene.kills, report.completed, report.cycles, report.records) == (3, 1, 1, LINES)
        records, events, stale = consumer.repeats
        # One block at each death, and a block is about 150 lines.
        assert 3 * 50 < records < 3 * 300
        assert (events, stale) == (0, 0)
        assert len(scene.exports()) == 1


async def test_killed_before_the_last_checkpoint_it_tells_once_more_that_the_export_is_complete(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, simulated={"files": 1}) as scene:
        consumer = Consumer(prefix)
        # Before it there were those of export_requested and of export_ready.
        trap = scene.proxy.hold(checkpoint_after(f"{prefix}.exports", checkpoints=scene.checkpoints, skip=2))
        daemon = await scene.start()
        await trap.held()
        await scene.kill(daemon)
        report = await scene.finish(await scene.start(), consumer)
        assert (report.completed, report.cycles, report.records) == (1, 1, LINES)
        # file_published and export_completed; whether lines were left for the last block depends on its size and age.
        assert consumer.repeats[1:] == (2, 0)


async def test_a_stale_owner_writes_a_checkpoint_that_is_ignored_and_written_over_and_the_stream_goes_on(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    async with staged(local_kafka, prefix, tmp_path, simulated={"files": 1}) as scene:
        consumer, stream = Consumer(prefix), scene.stream()
        stale = scene.proxy.hold(checkpoint_after(scene.topic(TYPE), checkpoints=scene.checkpoints, skip=1))
        first = await scene.start()
        await stale.held()
        first.strike(signal.SIGSTOP)
        # Far behind the place of which the first one's checkpoint speaks, the second one has to wait.
        scene.hold("file", file=0, at_byte=int(0.7 * SIZE))
        second = await scene.start()
        await scene.held()
        rows = await second.until(lambda rows: bytes_done(rows[stream]) > 0.5 * SIZE, "the second one was far ahead")
        done = bytes_done(rows[stream])

        first.strike(signal.SIGCONT)
        stale.release()
        terms = await history(scene, lambda terms: terms != sorted(terms), "the stale checkpoint was written")
        assert terms.index(max(terms)) < len(terms) - 1
        await history(scene, lambda terms: terms[-1] == max(terms), "it was written over")
        for daemon in (first, second):
            row = (await daemon.streams())[stream]
            # The first one, back in the group, may have been given the shard and have published all of it by now.
            assert bytes_done(row) >= done or row["phase"] == "idle"

        scene.simulator.release()
        await first.until(lambda rows: rows[stream]["phase"] == "idle", "the export was complete")
        assert (await first.terminate()).code == 0
        report = await scene.finish(second, consumer)
        assert (report.completed, report.cycles, report.records) == (1, 1, LINES)
        assert consumer.repeats[0] > 0
        assert len(scene.exports()) == 1


async def history(scene: Scene, condition: Callable[[list[int]], bool], what: str) -> list[int]:
    """The terms of all checkpoints there are, in their order, as soon as the condition holds of them."""
    deadline = time.monotonic() + PATIENCE
    while True:
        published = await asyncio.to_thread(read_committed, scene.bootstrap_servers, [scene.checkpoints])
        terms = [json.loads(record.value or b"")["term"] for record in published.records[scene.checkpoints]]
        if condition(terms):
            return terms
        assert time.monotonic() < deadline, f"never {what}: {terms}"
        await asyncio.sleep(0.2)


async def test_what_is_queued_when_a_producer_is_closed_is_never_delivered(
    local_kafka: LocalKafka, prefix: str
) -> None:
    config = settings_for(Kafka(local_kafka.proxied_bootstrap_servers), prefix)
    async with Proxy(local_kafka.proxied_port, local_kafka.port_behind_proxy) as proxy:
        topics = await prepare_topics(config)
        bills = f"{prefix}.bill"

        async def confirm() -> None:
            """The shard is ours."""

        producer = acknowledged_producer(
            config, topics, milliseconds=lambda: 0, monotonic=time.monotonic, confirm=confirm
        )
        await producer.start()
        batches = producer.new_batches()
        for number in range(6):
            batches.append(0, b"%d" % number, bytes(300_000), NO_HEADERS)
        held = proxy.hold(request(Api.PRODUCE, naming=bills))
        publishing = asyncio.create_task(producer.publish(lambda _: [], topic=bills, batches=batches))
        await held.held()
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        began = time.monotonic()
        await producer.close()
        assert time.monotonic() - began < 5
        passed = proxy.passed[Api.PRODUCE]
        held.release()
        await asyncio.sleep(2)
        assert proxy.passed[Api.PRODUCE] <= passed + 1, "what was on its way, and nothing behind it"
    assert len(committed(local_kafka.bootstrap_servers, bills)) <= 2


async def test_check_asks_for_no_transactions(local_kafka: LocalKafka, prefix: str, tmp_path: Path) -> None:
    async with staged(local_kafka, prefix, tmp_path) as scene:
        await (await scene.start()).logged("shard_taken_over")
        before = scene.proxy.passed[Api.END_TXN]
        said = await streamer(
            "check", "--config", str(tmp_path / "daemon-1.toml"), cwd=tmp_path, environment=ENVIRONMENT
        )
        assert said.code == 0, said.stdout
        assert "ok   delivery: at least once" in said.stdout
        assert "transactions:" not in said.stdout
        assert scene.proxy.passed[Api.END_TXN] == before
