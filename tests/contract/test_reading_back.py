"""A topic read back says what another library's `read_committed` consumer sees of the source, up to its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from aiokafka.errors import CorruptRecordException
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from structlog.testing import capture_logs

from streamer.config import KafkaConfig
from streamer.core.differences import value_digest
from streamer.errors import KafkaUnavailableError
from streamer.kafka.decoding import Batch, Slice, Source
from streamer.kafka.reading_back import Ends, TopicReader
from tests.brokers import Kafka
from tests.committed import read_committed
from tests.facts import Record
from tests.quotas import limit_reading
from tests.secured import client, kafka_config

OURS = Source(b"/mews/alpine")
PARTITIONS = 2


@pytest.fixture
def topic(kafka: Kafka, prefix: str) -> str:
    admin = AdminClient(client(kafka.bootstrap_servers))
    admin.create_topics([NewTopic(prefix, PARTITIONS, 1)])[prefix].result(30)
    return prefix


@contextmanager
def transaction(kafka: Kafka, topic: str, *, name: str = "writer", ends: bool = True) -> Iterator[Producer]:
    """A transaction; left open unless it ``ends``."""
    settings = {**client(kafka.bootstrap_servers), "transactional.id": f"{topic}-{name}"}
    producer = Producer({**settings, "compression.type": "zstd"})
    producer.init_transactions(30)
    producer.begin_transaction()
    yield producer
    producer.flush(30)
    if ends:
        producer.commit_transaction(30)


def write(
    producer: Producer,
    topic: str,
    numbers: range,
    *,
    source: str | None = "/mews/alpine",
    gone: bool = False,
    timestamp: int = 1_700_000_000_000,
) -> None:
    headers: dict[str, str | bytes | None] = {"ce_id": b"x"}
    if source is not None:
        headers["ce_source"] = source.encode()
    for number in numbers:
        value = None if gone else b"%d of %s" % (number, (source or "nobody").encode())
        producer.produce(
            topic, value, b"%d" % number, partition=number % PARTITIONS, headers=headers, timestamp=timestamp
        )
        producer.poll(0)


async def everything(
    kafka: Kafka, topic: str, *, source: Source = OURS, since: int | None = None
) -> tuple[list[tuple[int, bytes, int, bool, int]], int]:
    """What is read back, however it is decoded, and how many foreign records were met."""
    decoded = []
    for kernel in (True, False):
        found, foreign = [], 0
        async with TopicReader(KafkaConfig(bootstrap_servers=(kafka.bootstrap_servers,)), kernel=kernel) as reader:
            ends = await reader.ends(topic, PARTITIONS, since=since)
            for partition in range(PARTITIONS):
                async for some in reader.slices(topic, partition, ends[partition], source):
                    foreign += some.foreign
                    columns = (some.facts.values.tolist(), some.tombstones.tolist(), some.timestamps.tolist())
                    found += [(partition, *row) for row in zip(some.keys, *columns, strict=True)]
        decoded.append((found, foreign))
    assert decoded[0] == decoded[1]
    return decoded[0]


def seen(kafka: Kafka, topic: str) -> list[Record]:
    return sorted(
        read_committed(kafka.bootstrap_servers, [topic]).records[topic],
        key=lambda record: (record.partition, record.offset),
    )


async def test_it_reads_what_another_library_reads_and_nothing_of_others(kafka: Kafka, topic: str) -> None:
    with transaction(kafka, topic) as producer:
        write(producer, topic, range(6000))
    with transaction(kafka, topic) as producer:
        write(producer, topic, range(100), source="/mews/beach")
        write(producer, topic, range(100), source=None)
    with transaction(kafka, topic) as producer:
        write(producer, topic, range(3000, 3010), gone=True)
    aborted = Producer({**client(kafka.bootstrap_servers), "transactional.id": f"{topic}-aborted"})
    aborted.init_transactions(30)
    aborted.begin_transaction()
    write(aborted, topic, range(50), gone=True)
    aborted.flush(30)
    aborted.abort_transaction(30)

    found, foreign = await everything(kafka, topic)
    expected = [
        (
            *(record.partition, record.key, value_digest(record.key or b"", record.value or b"")),
            *(record.value is None, record.timestamp * 1000),
        )
        for record in await asyncio.to_thread(seen, kafka, topic)
        if record.header("ce_source") == "/mews/alpine"
    ]
    assert found == expected
    assert len(found) == 6010
    assert foreign == 200
    # In a topic of one's own, without headers, what nobody has signed is one's own too.
    assert len((await everything(kafka, topic, source=Source(b"/mews/alpine", or_none=True)))[0]) == 6110


async def test_it_waits_for_what_is_not_decided_yet(kafka: Kafka, topic: str) -> None:
    with transaction(kafka, topic, name="first") as producer:
        write(producer, topic, range(10))
    with transaction(kafka, topic, name="open", ends=False) as undecided:
        write(undecided, topic, range(10, 20))
    with transaction(kafka, topic, name="last") as producer:
        write(producer, topic, range(20, 30))
    reading = asyncio.create_task(everything(kafka, topic))
    done, _ = await asyncio.wait({reading}, timeout=1.5)
    assert not done
    await asyncio.to_thread(undecided.commit_transaction, 30)
    found, _ = await reading
    assert len(found) == 30


async def test_a_quota_makes_it_slower_and_nothing_else(kafka: Kafka, topic: str, prefix: str) -> None:
    """A broker whose client has read more than its quota answers with no topic at all, and says when to come again."""
    with transaction(kafka, topic) as producer:
        for number in range(30):
            # Some 3 MB that can't be compressed: a bit more than ten seconds' worth, which are free.
            producer.produce(
                topic, os.urandom(100_000), b"%d" % number, partition=0, headers={"ce_source": OURS.header}
            )
    config = kafka_config(kafka.bootstrap_servers, client_id=prefix)
    await limit_reading(kafka_config(kafka.bootstrap_servers), prefix, 200_000)
    async with TopicReader(config, kernel=True) as reader:
        ends = await reader.ends(topic, PARTITIONS)
        # A broker may hear of the quota a moment after it was set.
        for _ in range(5):
            keys = []
            with capture_logs() as said:
                async for some in reader.slices(topic, 0, ends[0], OURS):
                    keys += some.keys
            assert keys == [b"%d" % number for number in range(30)]
            if "read_back_throttled" in [line["event"] for line in said]:
                return
    pytest.fail("the quota holds nobody back")


async def test_a_batch_that_can_not_be_read_is_no_defect_of_ours(kafka: Kafka, topic: str) -> None:
    with transaction(kafka, topic) as producer:
        write(producer, topic, range(10))

    def unreadable(batches: Iterable[Batch], source: Source) -> Iterator[Slice]:
        raise CorruptRecordException

    async with TopicReader(kafka_config(kafka.bootstrap_servers), kernel=True) as reader:
        reader._decoded = unreadable
        ends = await reader.ends(topic, PARTITIONS)
        with pytest.raises(KafkaUnavailableError, match="can't be read back"):
            await anext(reader.slices(topic, 0, ends[0], OURS))


async def test_an_empty_topic_is_not_read_at_all_and_old_records_can_be_left_out(kafka: Kafka, topic: str) -> None:
    async with TopicReader(KafkaConfig(bootstrap_servers=(kafka.bootstrap_servers,)), kernel=True) as reader:
        assert await reader.ends(topic, PARTITIONS) == {0: Ends(0, 0), 1: Ends(0, 0)}
        assert [some async for some in reader.slices(topic, 0, Ends(0, 0), OURS)] == []
    with transaction(kafka, topic) as producer:
        write(producer, topic, range(10), timestamp=1_700_000_000_000)
    with transaction(kafka, topic) as producer:
        write(producer, topic, range(10, 15), timestamp=1_700_000_500_000)
    found, _ = await everything(kafka, topic, since=1_700_000_400_000)
    assert {key for _, key, *_ in found} == {b"%d" % number for number in range(10, 15)}
    assert (await everything(kafka, topic, since=1_800_000_000_000))[0] == []
