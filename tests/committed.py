"""What is committed in Kafka, read with another client library than the one that wrote it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.facts import Published as Published
from tests.facts import Record as Record
from tests.secured import client


def committed_consumer(bootstrap_servers: str, **more: str | int | bool) -> Consumer:
    """A consumer of committed records, without a group to speak of."""
    return Consumer(
        {
            **client(bootstrap_servers),
            "group.id": "tests-read-back",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            **more,
        }
    )


def partitions_of(consumer: Consumer, topics: Iterable[str]) -> list[TopicPartition]:
    """All partitions of the topics, at their beginnings."""
    found = []
    for topic in topics:
        metadata = consumer.list_topics(topic, 30).topics[topic]
        assert metadata.error is None, f"{topic}: {metadata.error}"
        found += [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in sorted(metadata.partitions)]
    return found


def read_committed(bootstrap_servers: str, topics: Sequence[str], *, within: float = 120.0) -> Published:
    """Read the topics from their beginnings to their high watermarks as they are now.

    Fails where somebody's transaction is still open before one of those: what lies behind it can't be seen.
    """
    ends = high_watermarks(bootstrap_servers, topics)
    consumer = committed_consumer(
        bootstrap_servers,
        **{"enable.partition.eof": True, "fetch.wait.max.ms": 50, "queued.max.messages.kbytes": 65536},
    )
    records: dict[str, list[Record]] = {topic: [] for topic in topics}
    missing = {place for place, end in ends.items() if end > 0}
    deadline = time.monotonic() + within
    try:
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in missing])
        while missing:
            if time.monotonic() > deadline:
                raise AssertionError(f"not readable to the end within {within:g} s (open transactions?): {missing}")
            for message in consumer.consume(5000, 0.2):
                place = (str(message.topic()), int(message.partition() or 0))
                error = message.error()
                if error is None:
                    records[place[0]].append(record_of(message))
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise AssertionError(f"{place}: {error}")
                elif int(message.offset() or 0) >= ends[place]:
                    # The end that is told counts markers and aborted records too, which are never handed out.
                    missing.discard(place)
    finally:
        consumer.close()
    for found in records.values():
        found.sort(key=lambda record: (record.partition, record.offset))
    partitions = {topic: sum(name == topic for name, _ in ends) for topic in topics}
    return Published(records, partitions)


def high_watermarks(bootstrap_servers: str, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """Where the partitions end, behind all open transactions."""
    consumer = committed_consumer(bootstrap_servers, **{"isolation.level": "read_uncommitted"})
    try:
        return {
            (place.topic, place.partition): _high_watermark(consumer, place)
            for place in partitions_of(consumer, topics)
        }
    finally:
        consumer.close()


_NO_LEADER_YET = frozenset(
    {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART}
)


def _high_watermark(consumer: Consumer, place: TopicPartition, *, within: float = 30.0) -> int:
    """Where a partition ends. One that was made a moment ago may have no leader yet."""
    deadline = time.monotonic() + within
    while True:
        try:
            return int(consumer.get_watermark_offsets(place, timeout=within)[1])
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER_YET or time.monotonic() > deadline:
                raise
            consumer.poll(0.05)


def record_of(message: Message) -> Record:
    """A message without an error, as a plain value."""
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Record(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple((name, _bytes(value) or b"") for name, value in pairs),
        timestamp=message.timestamp()[1],
    )


def _bytes(value: object) -> bytes | None:
    assert value is None or isinstance(value, bytes | str)
    return value.encode() if isinstance(value, str) else value


def wait_for_a_commit(
    bootstrap_servers: str, topics: Sequence[str], *, after: float = 0.0, within: float = 60.0
) -> None:
    """Return as soon as a record becomes visible in one of the topics.

    With ``after``, as soon as one does at least so many seconds after the first. A record counts only where all
    before it have been read already: else its commit may be long past.
    """
    consumer = committed_consumer(bootstrap_servers, **{"enable.partition.eof": True, "fetch.wait.max.ms": 5})
    deadline = time.monotonic() + within
    first: float | None = None
    behind = {(place.topic, place.partition) for place in partitions_of(consumer, topics)}
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_END) for topic, partition in behind])
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is None:
                continue
            place = (str(message.topic()), int(message.partition() or 0))
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                behind.discard(place)
            elif error is None and place not in behind:
                first = first or time.monotonic()
                if time.monotonic() >= first + after:
                    return
                behind.add(place)
        raise AssertionError(f"no record became visible within {within:g} s in {topics}; not at the end: {behind}")
    finally:
        consumer.close()
