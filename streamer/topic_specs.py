"""What every topic is to be like: the one place that names partitions and configs.

Known to the Kafka adapter, which makes the topics, and to the contract, which tells consumers of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streamer.config import CHECKPOINT_SHARDS, Config

LARGEST_BATCH_BY_DEFAULT = 1_048_588
"""``max.message.bytes`` of a topic that doesn't say."""

_DAY = 24 * 60 * 60 * 1000
_HEADROOM = 64 * 1024
"""Bytes that a record may need beside its line: key, headers, framing."""


class TopicSpec(msgspec.Struct, frozen=True):
    """What a topic is to be like; ``configs`` hold Kafka's own names and values."""

    name: str
    partitions: int
    configs: Mapping[str, str]


def topic_specs(config: Config) -> tuple[TopicSpec, ...]:
    """Every topic that the streams of ``config`` write to or hear signals from, with the configs that suit it."""
    topics, largest = config.topics, str(largest_batch(config.exports.max_line_bytes))
    compact = {
        "cleanup.policy": "compact",
        "max.message.bytes": largest,
        "min.compaction.lag.ms": str(_DAY),
        "max.compaction.lag.ms": str(30 * _DAY),
        "delete.retention.ms": str(7 * _DAY),
        "segment.ms": str(_DAY),
    }
    dead_letters = {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY), "max.message.bytes": largest}
    checkpoints = {
        "cleanup.policy": "compact",
        "segment.bytes": str(16 * 1024 * 1024),
        "segment.ms": str(60 * 60 * 1000),
        "min.cleanable.dirty.ratio": "0.1",
        "delete.retention.ms": str(60 * 60 * 1000),
    }
    entity_topics = dict.fromkeys(topics.entity_topic(key) for key in config.streams())
    wanted = [
        *((name, topics.partitions, compact) for name in entity_topics),
        (topics.events, topics.partitions, {"cleanup.policy": "delete", "retention.ms": str(365 * _DAY)}),
        (topics.dead_letters, topics.partitions, dead_letters),
        (topics.checkpoints, CHECKPOINT_SHARDS, checkpoints),
        # One partition: a stream keeps its place in it as one number.
        (topics.signals, 1, {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY)}),
    ]
    always = {"unclean.leader.election.enable": "false", "message.timestamp.type": "CreateTime"}
    return tuple(
        TopicSpec(name, partitions, {**always, **configs, **topics.config.get(name, {})})
        for name, partitions, configs in wanted
    )


def largest_batch(max_line_bytes: int) -> int:
    """``max.message.bytes`` with which a line of the longest allowed length still fits."""
    return max(LARGEST_BATCH_BY_DEFAULT, max_line_bytes + _HEADROOM)
