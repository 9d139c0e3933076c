"""Prints changes of reservations before they are committed, each once: repeats are dropped by their ``ce_id``.

For consumers that can't read committed records only, or that would rather be early than sure. A record may belong to a
transaction that is aborted later; it then comes again under the same ``ce_id``, which is
``<export>/<file>/<byte offset of the line>``. The records of one export keep that order within a partition, so it takes
one position for each export and partition to know a repeat, not a set of all ids ever seen.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

EXPORTS_REMEMBERED = 100
"""A repeat comes soon after the first: after a restart of streamer, at the latest with the next export."""

Place = tuple[int, int]


def headers_of(message: Message) -> list[tuple[str, bytes]]:
    headers: list[tuple[str, bytes]] = list(message.headers() or ())  # type: ignore[arg-type]
    return headers


class Repeats:
    """Which records have been seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], Place] = {}
        self._gone: dict[str, None] = {}

    def is_new(self, message: Message) -> bool:
        """Whether this is the first time that the record comes; it has come from now on."""
        headers = dict(headers_of(message))
        if "streamer.replay" in headers:  # a dead letter that became a record later, out of its export's order
            return True
        ce_id = headers["ce_id"].decode()
        export, file, offset = ce_id.split("/", 2)
        if file == "gone":  # a tombstone: these have no order
            return self._is_first(ce_id)
        key, place = (export, message.partition() or 0), (int(file), int(offset))
        if place <= self._seen.get(key, (-1, -1)):
            return False
        self._seen[key] = place
        while len(self._seen) > EXPORTS_REMEMBERED * 100:
            del self._seen[next(iter(self._seen))]
        return True

    def _is_first(self, ce_id: str) -> bool:
        first = ce_id not in self._gone
        self._gone[ce_id] = None
        while len(self._gone) > EXPORTS_REMEMBERED * 1000:
            del self._gone[next(iter(self._gone))]
        return first


def follow(bootstrap_servers: str, prefix: str, out: Path) -> None:
    topic = f"{prefix}.reservation"
    table: dict[bytes, bytes] = {}
    repeats, dropped = Repeats(), 0
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "unused",  # librdkafka asks for one, but nothing is committed to it
            "isolation.level": "read_uncommitted",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    partitions = consumer.list_topics(topic, 30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    while True:
        messages = consumer.consume(num_messages=1000, timeout=0.5)
        for message in messages:
            if error := message.error():
                raise KafkaException(error)
            if not repeats.is_new(message):
                dropped += 1
                continue
            key, value = message.key() or b"", message.value()
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value
        if messages:
            print(f"{len(table)} reservations, {dropped} repeats dropped", flush=True)
            fresh = out.with_suffix(".fresh")
            fresh.write_bytes(b"".join(value + b"\n" for value in table.values()))
            os.replace(fresh, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--prefix", default="mews", help="where the names of the topics begin")
    parser.add_argument("--out", type=Path, default=Path("reservations.jsonl"), help="the reservations as they are now")
    arguments = parser.parse_args()
    follow(arguments.bootstrap_servers, arguments.prefix, arguments.out)
