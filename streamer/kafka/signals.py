"""The signals topic: reading all that is kept in it and what comes, for the streams; writing, for people.

The topic has one partition, because a stream keeps its place in it as one number. Streams look for themselves at which
signals they have seen, so that everything is read anew at each start, and nothing is lost by reading too early.
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from streamer.config import Config
from streamer.core.signals import LONGEST_SIGNAL_BYTES, Signal, SignalRecord, encode_signal
from streamer.errors import FatalError
from streamer.kafka.connection import (
    CALL_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
    answered_within,
    client_options,
    describe,
    reader_options,
    stopped_within,
)
from streamer.kafka.topics import TopicAdmin
from streamer.model import StreamKey
from streamer.topic_specs import topic_specs

log = structlog.get_logger()

_MOST_KEPT = 10_000
"""Signals in memory, at most some 10 MB of them; they are written by people, and the topic keeps a week."""

_FETCH_WAIT_MS = 500


class Signals:
    """The signals that have come, in the order of the topic."""

    def __init__(self) -> None:
        self.end = 0
        """One past the offset of the last that has come."""
        self._kept: deque[SignalRecord] = deque(maxlen=_MOST_KEPT)
        self._arrived = asyncio.Condition()

    async def take(self, records: list[SignalRecord]) -> None:
        """Hand out what has come. Records come in the order of their offsets."""
        async with self._arrived:
            self._kept.extend(records)
            self.end = records[-1].offset + 1
            self._arrived.notify_all()

    def inbox(self, stream: StreamKey) -> StreamInbox:
        """Those for one stream."""
        return StreamInbox(self, stream)

    def first(self, stream: StreamKey, after: int) -> SignalRecord | None:
        """The first one for a stream at this offset or behind it."""
        # Once for all of them: most are for others, and ten thousand may be kept.
        key = str(stream)
        return next((record for record in self._kept if record.offset >= after and record.is_for(key)), None)

    def keys(self) -> set[str]:
        """The keys that any have."""
        return {record.key for record in self._kept}

    async def beyond(self, end: int) -> None:
        """Wait until one has come, for whomever, at this offset or behind it."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.end > end)

    async def arrival(self, stream: StreamKey, after: int) -> None:
        """Wait until there is such a one."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.first(stream, after) is not None)


class StreamInbox:
    """The signals for one stream."""

    def __init__(self, signals: Signals, stream: StreamKey) -> None:
        self._signals = signals
        self._stream = stream

    def next(self, after: int) -> SignalRecord | None:
        """The first one at this offset of the topic or behind it, None where there is none yet."""
        return self._signals.first(self._stream, after)

    async def arrival(self, after: int) -> None:
        """Wait until there is one."""
        await self._signals.arrival(self._stream, after)


class SignalReader:
    """Tails the topic into ``Signals``."""

    def __init__(self, config: Config, signals: Signals) -> None:
        self._signals = signals
        self._partition = TopicPartition(config.topics.signals, 0)
        self._consumer = AIOKafkaConsumer(**reader_options(config.kafka), fetch_max_wait_ms=_FETCH_WAIT_MS)

    async def start(self) -> None:
        """Connect. Raises ``KafkaUnavailableError``."""
        async with answered_within(START_SECONDS, "starting the reader of signals"):
            await self._consumer.start()
        self._consumer.assign([self._partition])
        async with answered_within(CALL_SECONDS, "seeking the beginning of the signals"):
            await self._consumer.seek_to_beginning(self._partition)

    async def run(self) -> None:
        """Tail the topic. Never returns."""
        while True:
            try:
                fetched = await self._consumer.getmany(timeout_ms=_FETCH_WAIT_MS)
            except KafkaError as error:
                log.warning("signals_unreadable", reason=describe(error))
                await asyncio.sleep(1.0)
                continue
            records = [signal_record(record) for records in fetched.values() for record in records]
            if records:
                await self._signals.take(records)

    async def stop(self) -> None:
        """Close the consumer, within 10 s."""
        if problem := await stopped_within(STOP_SECONDS, self._consumer.stop()):
            log.warning("signal_reader_left_behind", reason=problem)


async def write_signal(config: Config, key: str, signal: Signal) -> int:
    """Write a signal, to a topic that is made where it is missing; its offset.

    Raises ``KafkaUnavailableError``, and ``FatalError`` where the topic can't be had.
    """
    await _prepare_topic(config)
    producer = AIOKafkaProducer(**client_options(config.kafka), acks="all", enable_idempotence=True)
    try:
        async with answered_within(START_SECONDS, "starting a producer"):
            await producer.start()
        async with answered_within(CALL_SECONDS, "writing the signal"):
            sent = await producer.send_and_wait(
                config.topics.signals, key=key.encode(), value=encode_signal(signal), partition=0
            )
    finally:
        if problem := await stopped_within(STOP_SECONDS, producer.stop()):
            log.warning("producer_left_behind", reason=problem)
    return int(sent.offset)


async def _prepare_topic(config: Config) -> None:
    name = config.topics.signals
    spec = next(spec for spec in topic_specs(config) if spec.name == name)
    admin = await TopicAdmin.connect(config)
    try:
        if name in await admin.describe([name]):
            return
        if not config.topics.create:
            raise FatalError(f"the topic {name} is missing and topics.create is off: nobody hears signals")
        await admin.create([spec], replication_factor=config.topics.replication_factor)
    finally:
        await admin.close()


def signal_record(record: ConsumerRecord) -> SignalRecord:
    """The record as the core knows it."""
    value = record.value
    if value is not None and len(value) > LONGEST_SIGNAL_BYTES:
        value = None
    key = bytes(record.key or b"").decode(errors="replace")
    return SignalRecord(offset=record.offset, key=key, value=None if value is None else bytes(value))
