"""The same with confluent-kafka (librdkafka), in transactions of two seconds: what a careful person would write.

It finds the ``Id`` with msgspec and partitions as Kafka's Java client does, but keeps no checkpoint: started again, it
begins at the first byte. Told what to do by one argument of JSON.
"""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Iterator

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from benchmarks.peer_task import PeerTask

_CHUNK_BYTES = 1 << 18
_COMMIT_SECONDS = 2.0
_START_SECONDS = 30.0


class Entity(msgspec.Struct, gc=False):
    """What the key is made of."""

    id: str = msgspec.field(name="Id")


def publish(task: PeerTask) -> None:
    """Send all lines; returns when the last transaction is committed, raises where a delivery failed."""
    failures: list[KafkaError] = []

    def look_at(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "transactional.id": f"confluent-{task.topic}",
            "compression.type": task.compression,
            "partitioner": "murmur2",
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 262_144,
            "delivery.report.only.error": True,
            "on_delivery": look_at,
        }
    )
    producer.init_transactions(_START_SECONDS)
    producer.begin_transaction()
    produce, decode, fixed = producer.produce, msgspec.json.Decoder(Entity).decode, list(task.headers.items())
    offset, commit_at = 0, time.monotonic() + _COMMIT_SECONDS
    for lines in _runs_of_lines(task.link):
        for line in lines:
            key = decode(line).id
            headers: list[tuple[str, str | bytes | None]] | None = (
                [("ce_id", f"{task.id_prefix}{offset}".encode()), *fixed] if fixed else None
            )
            offset += len(line) + 1
            while True:
                try:
                    if headers is None:
                        produce(task.topic, line, key)
                    else:
                        produce(task.topic, line, key, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.01)
        producer.poll(0)
        if time.monotonic() >= commit_at:
            producer.commit_transaction()
            producer.begin_transaction()
            commit_at = time.monotonic() + _COMMIT_SECONDS
    producer.commit_transaction()
    if failures:
        raise RuntimeError(str(failures[0]))


def _runs_of_lines(link: str) -> Iterator[list[bytes]]:
    rest = b""
    with urllib.request.urlopen(link) as response:  # noqa: S310 (the simulator's)
        while chunk := response.read1(_CHUNK_BYTES):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            yield lines
    if rest:
        yield [rest]


if __name__ == "__main__":
    publish(msgspec.json.decode(sys.argv[1], type=PeerTask))
