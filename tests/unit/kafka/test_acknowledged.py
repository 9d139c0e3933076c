"""Without transactions the order is what makes it safe: proof, records, proof, events, checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from streamer.core.record_format import NO_HEADERS
from streamer.errors import KafkaUnavailableError, NotOwnerError, ProducerLostError
from streamer.kafka.acknowledged import PROOF_SECONDS, AcknowledgedProducer
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.sending import Message, Offsets
from tests.memory_kafka import MemoryKafka, PlainMemoryProducer, Record, Trouble

BILLS, EVENTS, CHECKPOINTS = "bill", "exports", "checkpoints"


class Bench:
    """A producer, and in ``journal`` what it did, in order."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.refusals: list[Exception] = []
        self.offsets: Mapping[int, Offsets] = {}
        self.slow: dict[str, float] = {}
        """Seconds that the delivery of a topic's batches takes."""
        self.frozen = 0.0
        self.kafka = MemoryKafka({BILLS: 3, EVENTS: 3, CHECKPOINTS: 16})
        self.kafka.on_commit = self._note
        loop = asyncio.get_running_loop()
        self.producer = AcknowledgedProducer(
            lambda: SlowProducer(self.kafka, self.slow),
            format=BatchFormat(batch_bytes=1 << 20, zstd=False, transactional=False),
            partitions=self.kafka.partitions,
            step_seconds=30.0,
            milliseconds=lambda: 0,
            monotonic=lambda: loop.time() + self.frozen,
            confirm=self._confirm,
        )

    def _note(self, records: Sequence[tuple[str, Record]]) -> None:
        self.journal += [topic for topic, _ in records[:1]]

    async def _confirm(self) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.journal.append("proof")

    async def publish(self, *, events: int = 1) -> None:
        batches = self.producer.new_batches()
        batches.append(1, b"k", b"v", NO_HEADERS)

        def conclude(offsets: Mapping[int, Offsets]) -> list[Message]:
            self.offsets = offsets
            return [*[Message(EVENTS, b"s", b"event")] * events, Message(CHECKPOINTS, b"s", b"checkpoint")]

        await self.producer.publish(conclude, topic=BILLS, batches=batches)


class SlowProducer(PlainMemoryProducer):
    def __init__(self, kafka: MemoryKafka, slow: dict[str, float]) -> None:
        super().__init__(kafka)
        self._slow = slow

    async def send_batch(self, batch: object, topic: str, *, partition: int) -> asyncio.Future[object]:
        delivery = await super().send_batch(batch, topic, partition=partition)
        return asyncio.ensure_future(self._later(delivery, self._slow.get(topic, 0.0)))

    async def _later(self, delivery: asyncio.Future[object], seconds: float) -> object:
        await asyncio.sleep(seconds)
        return await delivery


async def test_events_follow_the_acknowledged_records_and_the_checkpoint_follows_the_events() -> None:
    bench = Bench()
    bench.slow |= {BILLS: 1.0, EVENTS: 1.0}
    await bench.publish()
    assert bench.journal == ["proof", BILLS, "proof", EVENTS, CHECKPOINTS]
    assert bench.offsets == {1: Offsets(0, 1)}


async def test_a_proof_is_good_for_five_seconds_before_a_block_and_renewed_before_each_checkpoint() -> None:
    bench = Bench()
    await bench.publish(events=0)
    bench.journal.clear()
    await asyncio.sleep(PROOF_SECONDS)
    await bench.publish(events=0)
    assert bench.journal == [BILLS, "proof", CHECKPOINTS]
    bench.journal.clear()
    await asyncio.sleep(PROOF_SECONDS + 0.1)
    await bench.publish(events=0)
    assert bench.journal == ["proof", BILLS, "proof", CHECKPOINTS]


async def test_the_time_that_a_process_stood_still_counts_against_the_proof() -> None:
    bench = Bench()
    await bench.publish(events=0)
    bench.journal.clear()
    bench.frozen = 60.0
    await bench.publish(events=0)
    assert bench.journal[0] == "proof"


async def test_events_that_take_long_are_followed_by_another_proof() -> None:
    bench = Bench()
    bench.slow |= {EVENTS: PROOF_SECONDS + 1}
    await bench.publish()
    assert bench.journal == ["proof", BILLS, "proof", EVENTS, "proof", CHECKPOINTS]


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("trouble", [Trouble.BATCH_FAILS, Trouble.DIES_BEFORE_COMMIT, Trouble.DIES_AFTER_COMMIT])
async def test_nothing_is_sent_behind_a_batch_that_is_not_acknowledged(batch: int, trouble: Trouble) -> None:
    bench = Bench()
    bench.kafka.batch_troubles = {batch: trouble}
    with pytest.raises(ProducerLostError):
        await bench.publish()
    sent = [step for step in bench.journal if step != "proof"]
    assert sent == [BILLS, EVENTS, CHECKPOINTS][: batch - (trouble is not Trouble.DIES_AFTER_COMMIT)]
    with pytest.raises(ProducerLostError, match="given up"):
        await bench.publish()


@pytest.mark.parametrize("refusal", [NotOwnerError("a rebalance"), KafkaUnavailableError("no coordinator")])
async def test_a_rebalance_that_passes_costs_a_wait_and_no_repeat(refusal: Exception) -> None:
    bench = Bench()
    await bench.publish(events=0)
    bench.journal.clear()
    bench.refusals = [refusal] * 20
    await bench.publish(events=0)
    assert bench.journal == [BILLS, "proof", CHECKPOINTS]
    assert asyncio.get_running_loop().time() == pytest.approx(2.0, abs=0.1)


async def test_without_a_proof_there_is_neither_block_nor_checkpoint() -> None:
    bench = Bench()
    bench.refusals = [NotOwnerError("thrown out")] * 1000
    with pytest.raises(ProducerLostError, match="proving the ownership of a shard took longer than 30 s"):
        await bench.publish()
    assert bench.journal == []


async def test_a_delivery_that_hangs_is_given_up_after_its_deadline() -> None:
    bench = Bench()
    bench.slow |= {CHECKPOINTS: 1e6}
    with pytest.raises(ProducerLostError, match="sending a checkpoint took longer than 30 s"):
        await bench.publish()
    await bench.producer.close()
