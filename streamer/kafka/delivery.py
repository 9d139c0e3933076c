"""Which kind of producer a shard gets: the one place that ``kafka.delivery`` decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamer.config import Config
from streamer.kafka.acknowledged import acknowledged_producer
from streamer.kafka.producer import shard_producer
from streamer.kafka.sending import Confirm, ShardProducer
from streamer.kafka.topics import Topic
from streamer.model import Shard


def producer_for(
    config: Config,
    topics: Mapping[str, Topic],
    shard: Shard,
    *,
    milliseconds: Callable[[], int],
    monotonic: Callable[[], float],
    confirm: Confirm,
) -> ShardProducer:
    """An unstarted producer of a shard."""
    if config.kafka.delivery == "at_least_once":
        return acknowledged_producer(config, topics, milliseconds=milliseconds, monotonic=monotonic, confirm=confirm)
    return shard_producer(config, topics, shard, milliseconds=milliseconds)
