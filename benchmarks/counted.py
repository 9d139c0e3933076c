"""Counts what a consumer of another client library sees in a topic: `python -m benchmarks.counted SERVERS TOPIC`.

A process of its own, because what a consumer fetches ahead would end up in the memory of the processes that are
measured: on Linux, a new process' `ru_maxrss` begins with that of the one that started it.
"""

from __future__ import annotations

import json
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

_SILENT_SECONDS = 30.0


def count(bootstrap_servers: str, topic: str) -> dict[str, int]:
    """Committed records of the topic from its beginning to its end, and the bytes of their values."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "benchmark",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=_SILENT_SECONDS).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        records = size = 0
        unfinished = set(partitions)
        heard_at = time.monotonic()
        while unfinished:
            # Returns early only when it has that many.
            messages = consumer.consume(10_000, timeout=0.2)
            heard_at = time.monotonic() if messages else heard_at
            if time.monotonic() - heard_at > _SILENT_SECONDS:
                raise TimeoutError(f"nothing more of {topic} within {_SILENT_SECONDS:g} s")
            for message in messages:
                error = message.error()
                if error is None:
                    records += 1
                    size += len(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition())
                else:
                    raise KafkaException(error)
        return {"records": records, "bytes": size}
    finally:
        consumer.close()


if __name__ == "__main__":
    print(json.dumps(count(sys.argv[1], sys.argv[2])))
