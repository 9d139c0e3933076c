"""A stream that no settings have any more: what consumers see of its retirement, whatever befalls the transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from streamer.core.heeding import Remains
from streamer.core.signals import Pause, Retire
from streamer.core.states import Retired
from streamer.errors import KafkaUnavailableError
from streamer.kafka.decoding import Source
from streamer.model import StreamKey
from streamer.service.reconciling import Reconciler
from streamer.service.retiring import Retirement
from streamer.service.shard import OwnedShard
from streamer.service.unconfigured import Leavings, Unconfigured
from tests.memory_kafka import Record, Trouble
from tests.unit.cases import cases
from tests.unit.service.life_bench import BILLS, KEY, SHARD, Bench

OWN = [b"%02d" % n for n in range(12)]
LINES = b"".join(b'{"Id":"%s","n":1}\n' % key for key in OWN)
STRANGERS, LOST = b"stranger's", OWN[3]
"""One that was never ours, and one that somebody else has written since."""


async def published() -> Bench:
    """A topic with what a stream has published to it, and somebody else besides."""
    bench = Bench((LINES,), once=False)
    life = asyncio.create_task(bench.live())
    await bench.until(lambda: "export_completed" in bench.told)
    life.cancel()
    await asyncio.wait({life})
    for key in (STRANGERS, LOST):
        bench.kafka.put(BILLS, key, b'{"Id":"%s","n":2}' % key)
    return bench


@asynccontextmanager
async def without_settings(bench: Bench) -> AsyncIterator[asyncio.Task[None]]:
    """The shard is owned by a replica whose settings don't have the stream."""

    async def partitions(topic: str) -> int:
        return bench.kafka.partitions[topic]

    def retirement(stream: StreamKey, topic: str) -> Retirement:
        source = Source(KEY.source.encode(), gives_way=True)
        reconciler = Reconciler(
            stream,
            open_reader=lambda: bench.reader,
            settings=msgspec.structs.replace(bench.reconciling, topic=topic, source=source),
            budget=bench.budget,
            clock=bench.clock,
        )
        return Retirement(stream, reconciler=reconciler, headers=True, block_bytes=600, clock=bench.clock)

    leavings = Leavings(
        configured=frozenset(),
        remains=lambda _: Remains(BILLS, shared_keys=False, tellable=True),
        retirement=retirement,
        partitions=partitions,
    )
    work = Unconfigured(SHARD, signals=bench.signals, leavings=leavings, clock=bench.clock, metrics=bench.metrics)
    shard = OwnedShard(SHARD, [work], take_over=bench.take, clock=bench.clock, restarted=lambda: None)
    life = asyncio.create_task(shard.run())
    try:
        yield life
    finally:
        life.cancel()
        await asyncio.wait({life})


def tombstones(bench: Bench) -> list[Record]:
    return [record for record in bench.kafka.committed(BILLS) if record.value is None]


def latest(bench: Bench) -> Mapping[bytes, bytes | None]:
    return {record.key: record.value for record in bench.kafka.committed(BILLS)}


@cases("nth", range(1, 6))
@cases("trouble", Trouble)
async def test_each_entity_has_its_tombstone_once_whatever_befalls_a_transaction(trouble: Trouble, nth: int) -> None:
    bench = await published()
    async with without_settings(bench):
        bench.kafka.troubles[bench.kafka.transactions + nth] = trouble
        await bench.signal(Retire(str(KEY)))
        await bench.until(lambda: "stream_retired" in bench.told)
    buried = tombstones(bench)
    assert sorted(record.key for record in buried) == sorted(set(OWN) - {LOST})
    assert {record.ce_id for record in buried} == {f"retire-0/gone/{record.key.decode()}" for record in buried}
    assert {key for key, value in latest(bench).items() if value is not None} == {STRANGERS, LOST}
    assert [event for event in bench.told if event in ("signal_applied", "stream_retired")] == [
        "signal_applied",
        "stream_retired",
    ]
    retired = bench.events[-1]
    assert retired["tombstones"] == len(buried)
    for number, counts in retired["partitions"].items():
        offsets = [record.offset for record in buried if record.partition == int(number)]
        assert (counts["tombstones"], counts["start"], counts["end"]) == (len(offsets), offsets[0], offsets[-1] + 1)
    assert isinstance(bench.checkpoint.state, Retired)


async def test_what_can_not_be_read_back_now_is_read_back_later() -> None:
    bench = await published()
    bench.reader.troubles = [KafkaUnavailableError("no answer") for _ in range(3)]
    async with without_settings(bench):
        await bench.signal(Retire(str(KEY)))
        await bench.until(lambda: "stream_retired" in bench.told)
    assert len(tombstones(bench)) == len(OWN) - 1
    assert bench.retries() == 3


async def test_it_ends_with_the_daemon() -> None:
    bench = await published()
    async with without_settings(bench) as life:
        await asyncio.sleep(5)
        bench.clock.stopping.set()
        for _ in range(100):
            await asyncio.sleep(0)
        assert life.done()


async def test_a_stream_that_is_configured_again_begins_anew() -> None:
    bench = await published()
    async with without_settings(bench):
        await bench.signal(Retire(str(KEY)))
        await bench.until(lambda: bool(tombstones(bench)))
    # Before it was done, or after.
    async with bench.living():
        await bench.until(lambda: bench.told.count("export_completed") == 2)
    assert {key for key, value in latest(bench).items() if value is not None} == {STRANGERS, *OWN}


@cases(
    ("key", "answers"),
    [
        ("alpine/Bill", ["signal_rejected"]),
        # Of another shard; to streams with settings; of no stream at all.
        ("alpine/Customer", []),
        ("*", []),
        ("alpine/bill", []),
        ("Alpine/Bill", []),
    ],
)
async def test_other_signals_are_answered_where_a_stream_could_be_meant(key: str, answers: list[str]) -> None:
    bench = Bench(once=False)
    async with without_settings(bench):
        await bench.signal(Pause(), key=key)
        await asyncio.sleep(5)
    assert bench.told == answers
