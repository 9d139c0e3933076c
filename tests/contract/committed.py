"""What is in a topic for a ``read_committed`` consumer of another library."""

from __future__ import annotations

import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.committed import high_watermarks
from tests.memory_kafka import Record
from tests.secured import client


def committed(
    bootstrap_servers: str, topic: str, *, in_transaction: bool = False, seconds: float = 30.0
) -> list[Record]:
    """All records, partition by partition.

    A commit is acknowledged before its markers are written, so what was committed a moment ago becomes visible a moment
    later: this waits until nothing is open any more, unless a transaction is (``in_transaction``).
    """
    ends = {} if in_transaction else high_watermarks(bootstrap_servers, [topic])
    consumer = Consumer(
        {
            **client(bootstrap_servers),
            "group.id": uuid.uuid4().hex,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
        }
    )
    try:
        partitions = sorted(consumer.list_topics(topic, timeout=seconds).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        records: list[Record] = []
        unread, deadline = set(partitions), time.monotonic() + seconds
        while unread and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                place = (topic, message.partition() or 0)
                if (message.offset() or 0) >= ends.get(place, 0):
                    unread.discard(message.partition())
                continue
            headers = tuple((str(header[0]), as_bytes(header[1])) for header in message.headers() or ())
            partition, offset, value = message.partition(), message.offset(), message.value()
            assert partition is not None
            assert offset is not None
            records.append(
                Record(partition, offset, as_bytes(message.key()), value if value is None else as_bytes(value), headers)
            )
        assert not unread, f"partitions {sorted(unread)} of {topic} could not be read to their end"
        return sorted(records, key=lambda record: record[:2])
    finally:
        consumer.close()


def as_bytes(data: object) -> bytes:
    assert isinstance(data, bytes), data
    return data
