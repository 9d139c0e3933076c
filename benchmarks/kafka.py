"""What a benchmark asks of Kafka, all of it through another client library than the one that is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupState, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

_SECONDS = 30.0
_STILL_SECONDS = 3.0
_QUIET = {"log_level": 2}
"""It would complain on stderr when the broker is stopped in the end; errors come as exceptions all the same."""


class Topics:
    """The topics of one broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, **_QUIET})

    def create(self, topic: str, *, partitions: int) -> None:
        """A topic with the broker's defaults."""
        for created in self._admin.create_topics([NewTopic(topic, partitions, 1)]).values():
            created.result(_SECONDS)

    def delete(self, prefix: str) -> None:
        """All topics whose names begin so: what was written would fill the disk, run by run."""
        names = [name for name in self._admin.list_topics(timeout=_SECONDS).topics if name.startswith(prefix)]
        for deleted in self._admin.delete_topics(names).values() if names else ():
            deleted.result(_SECONDS)

    def counted(self, topic: str) -> dict[str, int]:
        """``records`` and ``bytes`` that a ``read_committed`` consumer sees."""
        command = [sys.executable, "-m", "benchmarks.counted", self._servers, topic]
        counts: dict[str, int] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        return counts

    def wait_for_events(
        self, topic: str, name: str, *, count: int, seconds: float, give_up: Callable[[], bool]
    ) -> list[tuple[dict[str, Any], float]]:
        """So many committed events of that name, each with when it was seen (monotonic clock).

        Raises ``TimeoutError`` after so many ``seconds`` and once ``give_up`` says so.
        """
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": "benchmark",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        seen: list[tuple[dict[str, Any], float]] = []
        deadline = time.monotonic() + seconds
        try:
            while (known := consumer.list_topics(timeout=_SECONDS).topics.get(topic)) is None:
                if time.monotonic() > deadline or give_up():
                    raise TimeoutError(f"there is no topic {topic}")
                time.sleep(0.1)
            consumer.assign([TopicPartition(topic, partition, 0) for partition in known.partitions])
            while time.monotonic() < deadline and not give_up():
                message = consumer.poll(0.5)
                if message is None:
                    continue
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                seen_at = time.monotonic()
                event: dict[str, Any] = json.loads(message.value() or b"{}")
                if event.get("event") == name:
                    seen.append((event, seen_at))
                    if len(seen) == count:
                        return seen
        finally:
            consumer.close()
        raise TimeoutError(f"{len(seen)} of {count} {name} in {topic}")

    def wait_for_records(self, topic: str, count: int, *, seconds: float, give_up: Callable[[], bool]) -> float:
        """Until so many records can be read, and no more come; when the last did (monotonic clock).

        Ends of transactions take offsets too, so it waits until the ends of the partitions stand still.
        """
        partitions = self._admin.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
        newest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(topic, partition): newest for partition in partitions}
        deadline = time.monotonic() + seconds
        known, changed_at = 0, time.monotonic()
        while known < count or time.monotonic() - changed_at < _STILL_SECONDS:
            if time.monotonic() > deadline or give_up():
                raise TimeoutError(f"{known:,} of {count:,} records in {topic}")
            ends = self._admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED)
            there = sum(end.result(_SECONDS).offset for end in ends.values())
            if there > known:
                known, changed_at = there, time.monotonic()
            time.sleep(0.05)
        return changed_at

    def wait_for_members(self, group: str, count: int) -> None:
        """Until a consumer group has so many members, and rests."""
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            (described,) = self._admin.describe_consumer_groups([group]).values()
            told = described.result(_SECONDS)
            if len(told.members) == count and told.state == ConsumerGroupState.STABLE:
                return
            time.sleep(0.1)
        raise TimeoutError(f"the group {group} does not get {count} members")
