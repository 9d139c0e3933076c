"""A stream, its shard and all they need, over Kafka, Mews and the group in memory, in virtual time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from streamer.core.backoff import BackoffPolicy
from streamer.core.blocks import BlockLimits, digest_of
from streamer.core.checkpoint import Checkpoint, decode_checkpoint
from streamer.core.differences import Budget
from streamer.core.partitioner import partition_of
from streamer.core.records import UNREADABLE, identify
from streamer.core.schedule import Cadence, Sleep, Step, next_step
from streamer.core.scope import EVERYTHING
from streamer.core.signals import Signal, SignalRecord, encode_signal
from streamer.core.windows import UpdateWindows, WindowRules
from streamer.kafka.acknowledged import AcknowledgedProducer
from streamer.kafka.decoding import Source
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.producer import ShardProducer, TransactionalProducer
from streamer.kafka.sending import Confirm
from streamer.kafka.signals import Signals
from streamer.metrics import Metrics
from streamer.model import ConnectionName, EntityType, Shard, StreamKey
from streamer.service.asking import INTENT_SECONDS, AskSettings
from streamer.service.clock import Clock
from streamer.service.gathering import GatherSettings
from streamer.service.publishing import ExportPublisher, PublishSettings
from streamer.service.reading import FileReader
from streamer.service.reconciling import Reconciler, ReconcileSettings
from streamer.service.session import Session, ShardTopics
from streamer.service.shard import OwnedShard
from streamer.service.stream import Stream
from streamer.service.taking_over import take_over
from tests.memory_kafka import MemoryKafka, Record, json_of
from tests.memory_mews import MemoryHost, MemoryMews
from tests.memory_readers import MemoryCheckpoints, MemoryGroup, MemoryTopicReader

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
WINDOWS = UpdateWindows(overlap=timedelta(minutes=10), margin=timedelta(minutes=1))
SERVER_START = START - timedelta(hours=1)
"""Mews' clock goes right; that of the daemon is an hour ahead."""
KEY = StreamKey(ConnectionName("alpine"), EntityType.BILL)
SHARDS = 16
SHARD = Shard(partition_of(str(KEY).encode(), SHARDS))
BILLS, EVENTS, DEAD, CHECKPOINTS = "mews.bill", "mews.exports", "mews.dead-letters", "mews.checkpoints"
TOPICS = ShardTopics(events=EVENTS, checkpoints=CHECKPOINTS, dead_letters=DEAD)
INTERVAL = timedelta(hours=6)
"""Between snapshots."""
BLOCKED_LIMIT = timedelta(hours=2)

FILES = (
    b'{"Id":"a","n":1}\n{"Id":"b","n":1}\n\n{"Id":null}\n{"Id":"c","n":1}\n{"Id":"a","n":2}\n',
    b"",
    b'{"Id":"d","n":1}\r\n{"Id":"e","n":1}\n{"Id":"f","n":"long enough to be a block of its own"}\n{"Id":"g"}',
)
LIFE = ["export_requested", "export_ready", "file_published", "file_published", "file_published", "export_completed"]
"""The events of an export of the three files."""


class Bench:
    """What it takes for a stream to live; ``once`` as in ``streamer once``.

    Unless it ``reconciles``, every export publishes every line.
    """

    def __init__(
        self,
        files: Sequence[bytes] = FILES,
        *,
        once: bool = True,
        block_bytes: int = 32,
        block_seconds: float = 2.0,
        max_dead_letters: int = 2,
        is_transactional: bool = True,
        update_interval: timedelta | None = None,
        windows: WindowRules = WINDOWS,
        reconciles: bool = False,
    ) -> None:
        self.frozen = 0.0
        """Seconds for which the process has stood still: the clocks went on, the loop did not."""
        self.poll_interval = timedelta(minutes=5)
        self.wrong = timedelta()
        """How far the machine's wall clock is off."""
        loop = asyncio.get_running_loop()
        self.clock = Clock(
            now=lambda: START + timedelta(seconds=loop.time() + self.frozen) + self.wrong,
            monotonic=lambda: loop.time() + self.frozen,
            dice=lambda: 1.0,
        )
        self.kafka = MemoryKafka({BILLS: 3, EVENTS: 3, DEAD: 3, CHECKPOINTS: SHARDS})
        self.kafka.on_commit = self._note_commit
        self.group = MemoryGroup()
        self.group.on_proof = lambda: self.journal.append(("proof", self.clock.monotonic()))
        self.signals = Signals()
        self.signalled = 0
        self.metrics = Metrics()
        self.reader = MemoryTopicReader(self.kafka)
        self.budget = Budget(1_000_000)
        self.reconciling = ReconcileSettings(
            enabled=reconciles,
            topic=BILLS,
            source=Source(KEY.source.encode()),
            headers=True,
            max_tombstone_share=0.05,
            shared_keys=False,
            shared_topic=False,
            at_least_once=not is_transactional,
        )
        self.journal: list[tuple[str, float]] = []
        """What was proved, committed (the phase) and called, and when."""
        self.checkpoints: list[Checkpoint] = []
        self.events: list[dict[str, Any]] = []
        """As they were committed, by whomever."""
        self.is_mortal = False
        """Whether a lost session is the death of the process, with all it had in memory."""
        self.lives = 0
        self.take_overs = 0
        self.session: Session | None = None
        self._once = once
        self._cadence = Cadence(
            snapshot_interval=INTERVAL, windows=windows, update_interval=update_interval, always_due=once
        )
        self._limits = BlockLimits(block_bytes, block_seconds)
        self._max_dead_letters = max_dead_letters
        self._is_transactional = is_transactional
        self.use(MemoryMews(files))

    def use(self, mews: MemoryMews) -> None:
        """Another Mews, whose host serves the files, and a stream that speaks with it."""
        self.mews = mews
        self.mews.on_add = self._note_add
        self.mews.now = lambda: SERVER_START + timedelta(seconds=self.clock.monotonic())
        self.host = MemoryHost(mews)
        self.stream = self.new_stream()

    def new_stream(self) -> Stream:
        metrics = self.metrics.stream(KEY)
        reader = FileReader(
            links=self.mews,
            files=self.host,
            clock=self.clock.monotonic,
            sleep=self.clock.rest,
            random=self.clock.dice,
            backoff=BackoffPolicy(base=0.5),
        )
        publisher = ExportPublisher(
            KEY,
            links=self.mews,
            reader=reader,
            reconciler=Reconciler(
                KEY,
                open_reader=lambda: self.reader,
                settings=self.reconciling,
                budget=self.budget,
                clock=self.clock,
            ),
            settings=PublishSettings(
                gather=GatherSettings(
                    block=self._limits,
                    max_line_bytes=1000,
                    max_record_bytes=2000,
                    max_dead_letters=self._max_dead_letters,
                    headers=True,
                    kernel=True,
                ),
                max_dead_letter_bytes=10,
                topic=BILLS,
                topic_partitions=3,
            ),
            slots=asyncio.Semaphore(1),
            clock=self.clock,
            metrics=metrics,
        )
        settings = AskSettings(
            cadence=self._cadence,
            scope=EVERYTHING,
            poll_interval=self.poll_interval,
            blocked_pattern=re.compile("already running"),
            blocked_limit=BLOCKED_LIMIT,
        )
        return Stream(
            KEY,
            exports=self.mews,
            polls=self.mews,
            publisher=publisher,
            settings=settings,
            clock=self.clock,
            metrics=metrics,
            inbox=self.signals.inbox(KEY),
            once=self._once,
        )

    async def signal(self, signal: Signal | bytes, *, key: str = str(KEY)) -> None:
        """What a person writes to the signals topic."""
        value = signal if isinstance(signal, bytes) else encode_signal(signal)
        self.signalled += 1
        await self.signals.take([SignalRecord(self.signalled - 1, key, value)])

    def new_producer(self, shard: Shard, confirm: Confirm) -> ShardProducer:
        if not self._is_transactional:
            return AcknowledgedProducer(
                self.kafka.plain_producer,
                format=BatchFormat(batch_bytes=1 << 20, zstd=False, transactional=False),
                partitions=self.kafka.partitions,
                step_seconds=30.0,
                milliseconds=self.clock.milliseconds,
                monotonic=self.clock.monotonic,
                confirm=confirm,
            )
        return TransactionalProducer(
            lambda: self.kafka.producer(f"mews.streamer.{shard}"),
            format=BatchFormat(batch_bytes=1 << 20, zstd=False, transactional=True),
            partitions=self.kafka.partitions,
            transaction_seconds=30.0,
            milliseconds=self.clock.milliseconds,
        )

    async def take(self, shard: Shard, *, owner: str = "me") -> Session:
        """A take-over, as the shard makes it."""
        self.take_overs += 1
        return await take_over(
            shard,
            new_producer=self.new_producer,
            group=self.group,
            checkpoints=MemoryCheckpoints(self.kafka, CHECKPOINTS),
            owner=owner if self._is_transactional else f"{owner}.{self.take_overs}",
            topics=TOPICS,
            metrics=self.metrics,
            monotonic=self.clock.monotonic,
        )

    async def _take(self, shard: Shard) -> Session:
        self.session = await self.take(shard)
        return self.session

    async def live(self) -> None:
        """Run the shard until the stream is done or told to stop; a mortal process is started anew."""
        while True:
            shard = OwnedShard(SHARD, [self.stream], take_over=self._take, clock=self.clock, restarted=self._died)
            self._living = asyncio.create_task(shard.run())
            self.lives += 1
            try:
                await asyncio.wait({self._living})
            finally:
                self._living.cancel()
            if not self._living.cancelled():
                self._living.result()
                return
            self.stream = self.new_stream()

    def kill(self) -> None:
        """The process ends here and now; another one begins."""
        self._living.cancel()

    def _died(self) -> None:
        if self.is_mortal:
            self.kill()

    @asynccontextmanager
    async def living(self) -> AsyncGenerator[None, None]:
        """The stream lives meanwhile, and is told to stop in the end."""
        life = asyncio.create_task(self.live())
        try:
            yield
            self.clock.stopping.set()
            await life
        finally:
            life.cancel()

    async def until(self, condition: Callable[[], bool], *, every: float = 1.0, limit: float = 1e6) -> None:
        """Wait for something to be true, looking ``every`` so many seconds."""
        async with asyncio.timeout(limit):
            while not condition():  # noqa: ASYNC110 (many things are waited for, in virtual time)
                await asyncio.sleep(every)

    async def until_publishing(self) -> None:
        await self.until(lambda: self.checkpoint.phase == "publishing")

    def _note_commit(self, records: Sequence[tuple[str, Record]]) -> None:
        for topic, record in records:
            if topic == CHECKPOINTS and record.value is not None:
                self.checkpoints.append(decode_checkpoint(record.value))
                self.journal.append((self.checkpoints[-1].phase, self.clock.monotonic()))
            if topic == EVENTS:
                self.events.append(json_of(record.value))

    def _note_add(self) -> None:
        """``add`` is never called but right after its intent and a proof: held in every test."""
        (first, intended_at), (second, _) = self.journal[-2:]
        assert (first, second) == ("requesting", "proof")
        assert self.clock.monotonic() - intended_at <= INTENT_SECONDS
        self.journal.append(("add", self.clock.monotonic()))

    def is_not_due(self) -> bool:
        """Whether the stream has nothing to do yet, by its own schedule."""
        return isinstance(self._next_step(), Sleep)

    def pass_idle_time(self) -> None:
        """The stream is due at once: nobody looks at each of the minutes between."""
        step = self._next_step()
        if isinstance(step, Sleep):
            self.frozen += max(0.0, (step.until - self.clock.now()).total_seconds())

    def _next_step(self) -> Step:
        now, server_now = self.clock.now(), self.mews.now()
        return next_step(self.checkpoint, now=now, server_now=server_now, cadence=self._cadence)

    def retries(self) -> float:
        """How often the metrics tell of a step that is tried again."""
        samples = [sample for metric in self.metrics.registry.collect() for sample in metric.samples]
        return sum(sample.value for sample in samples if sample.name == "streamer_retries_total")

    def times(self, what: str) -> list[float]:
        return [at for happened, at in self.journal if happened == what]

    def commits(self) -> list[tuple[str, float]]:
        """The phases of all committed checkpoints, with their times."""
        return [(what, at) for what, at in self.journal if what not in ("proof", "add")]

    @property
    def checkpoint(self) -> Checkpoint:
        """The newest one."""
        return self.checkpoints[-1] if self.checkpoints else Checkpoint()

    @property
    def told(self) -> list[str]:
        return [event["event"] for event in self.events]

    def check_completed(self, export_id: str) -> None:
        """Every line of the export is accounted for exactly once, and ``export_completed`` tells the truth of it."""
        records = [r for r in self.kafka.committed(BILLS) if r.ce_id.startswith(f"{export_id}/")]
        letters = [r for r in self.kafka.committed(DEAD) if r.ce_id.startswith(f"{export_id}/")]
        good, bad, blank = expected(list(self.mews.files.values()))
        assert sorted((r.ce_id, r.value) for r in records) == [(f"{export_id}/{at}", line) for at, line in good]
        assert sorted((r.ce_id, r.value) for r in letters) == [(f"{export_id}/{at}", line[:10]) for at, line in bad]
        (completed,) = [e for e in self.events if e["event"] == "export_completed" and e["export_id"] == export_id]
        assert completed["lines"] == len(good) + len(bad) + blank
        assert (completed["records"], completed["dead_letters"]) == (len(good), len(bad))
        assert completed["blank"] == blank
        assert completed["bytes"] == sum(map(len, self.mews.files.values()))
        assert completed["partitions"] == {
            str(partition): summary([r for r in records if r.partition == partition])
            for partition in sorted({r.partition for r in records})
        }


def summary(records: Sequence[Record]) -> dict[str, Any]:
    digest = sum(digest_of(r.key, r.value or b"") for r in records) % 2**64
    offsets = [r.offset for r in records]
    start, end = min(offsets), max(offsets) + 1
    return {"records": len(records), "tombstones": 0, "start": start, "end": end, "digest": f"{digest:016x}"}


def expected(files: Sequence[bytes]) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]], int]:
    """Records and dead letters that the files must become, ``<file>/<offset>`` and value, and how many blank lines."""
    good, bad, blank = [], [], 0
    for number, content in enumerate(files):
        offset = 0
        for raw in content.split(b"\n")[: -1 if content.endswith(b"\n") or not content else None]:
            line = raw.removesuffix(b"\r")
            at = f"{number}/{offset}"
            offset += len(raw) + 1
            try:
                identify(line)
            except UNREADABLE:
                if line.strip():
                    bad.append((at, line))
                else:
                    blank += 1
            else:
                good.append((at, line))
    return sorted(good), sorted(bad), blank
