"""What a benchmark asks of Kafka, all of it through another client library than the one that is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

_SECONDS = 30.0
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

    def wait_for_event(
        self, topic: str, name: str, *, seconds: float, give_up: Callable[[], bool]
    ) -> tuple[dict[str, Any], float]:
        """The first committed event of that name, and when it was seen (monotonic clock).

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
        deadline = time.monotonic() + seconds
        try:
            partitions = consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            while time.monotonic() < deadline and not give_up():
                message = consumer.poll(0.5)
                if message is None:
                    continue
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                seen_at = time.monotonic()
                event: dict[str, Any] = json.loads(message.value() or b"{}")
                if event.get("event") == name:
                    return event, seen_at
        finally:
            consumer.close()
        raise TimeoutError(f"no {name} in {topic}")
