"""The topics as they are made, seen through another client's admin: configs, overrides, and what is never touched."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource

from streamer.config import Config
from streamer.errors import FatalError, KafkaUnavailableError
from streamer.kafka.topics import prepare_topics, prepare_topics_again
from streamer.model import EntityType
from tests.brokers import Kafka
from tests.replica import DEADLINE_SECONDS, create_topic, settings_for
from tests.secured import client

MINUTE = 60_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
EVERYWHERE = {"unclean.leader.election.enable": "false", "message.timestamp.type": "CreateTime"}

# As docs/consumers.md promises them.
ENTITIES = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": str(DAY),
    "max.compaction.lag.ms": str(30 * DAY),
    "delete.retention.ms": str(7 * DAY),
    "segment.ms": str(DAY),
}
EXPORTS = {"cleanup.policy": "delete", "retention.ms": str(365 * DAY)}
DEAD_LETTERS = {"cleanup.policy": "delete", "retention.ms": str(30 * DAY)}
CHECKPOINTS = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 * 1024 * 1024),
    "segment.ms": str(HOUR),
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": str(HOUR),
}


def configs_of(bootstrap_servers: str, topic: str) -> dict[str, str]:
    """What is set for the topic itself, without what it has from the broker."""
    admin = AdminClient(client(bootstrap_servers))
    ((_, answer),) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).items()
    entries: dict[str, Any] = answer.result(DEADLINE_SECONDS)
    ours = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return {name: entry.value for name, entry in entries.items() if entry.source == ours}


def partitions_of(bootstrap_servers: str, prefix: str) -> dict[str, int]:
    """The topics with the prefix and how many partitions each has."""
    topics = AdminClient(client(bootstrap_servers)).list_topics(timeout=DEADLINE_SECONDS).topics
    return {
        name.removeprefix(f"{prefix}."): len(topic.partitions)
        for name, topic in topics.items()
        if name.startswith(f"{prefix}.")
    }


def settings(kafka: Kafka, prefix: str, *entity_types: EntityType, **more: Any) -> Config:
    return settings_for(kafka.bootstrap_servers, prefix, "https://api.mews.example", *entity_types, **more)


async def test_missing_topics_are_made_with_the_configs_that_suit_each(kafka: Kafka, prefix: str) -> None:
    await prepare_topics(settings(kafka, prefix, EntityType.ORDER_ITEM, EntityType.BILL))
    assert partitions_of(kafka.bootstrap_servers, prefix) == {
        "order-item": 2, "bill": 2, "exports": 2, "dead-letters": 2, "checkpoints": 16, "signals": 1,
    }  # fmt: skip
    # What a line of 1 MB needs with its headers.
    largest = {"max.message.bytes": str(1_000_000 + 64 * 1024)}
    expected = {
        "order-item": ENTITIES | largest,
        "bill": ENTITIES | largest,
        "exports": EXPORTS,
        "dead-letters": DEAD_LETTERS | largest,
        "checkpoints": CHECKPOINTS,
    }
    for name, configs in expected.items():
        assert configs_of(kafka.bootstrap_servers, f"{prefix}.{name}") == EVERYWHERE | configs


@pytest.mark.parametrize(("max_line_bytes", "largest"), [(1_000, 1_048_588), (5_000_000, 5_000_000 + 64 * 1024)])
async def test_the_longest_line_decides_how_large_a_message_may_be(
    kafka: Kafka, prefix: str, max_line_bytes: int, largest: int
) -> None:
    topics = await prepare_topics(settings(kafka, prefix, exports={"max_line_bytes": max_line_bytes}))
    assert topics[f"{prefix}.reservation"].max_message_bytes == largest
    for name in ("reservation", "dead-letters"):
        assert configs_of(kafka.bootstrap_servers, f"{prefix}.{name}")["max.message.bytes"] == str(largest)


async def test_settings_for_a_topic_win_over_our_own_and_add_to_them(kafka: Kafka, prefix: str) -> None:
    override = {
        f"{prefix}.reservation": {"segment.ms": str(HOUR), "compression.type": "zstd"},
        f"{prefix}.exports": {"retention.ms": "-1"},
    }
    await prepare_topics(settings(kafka, prefix, topics={"config": override}))
    reservation = configs_of(kafka.bootstrap_servers, f"{prefix}.reservation")
    assert (reservation["segment.ms"], reservation["compression.type"]) == (str(HOUR), "zstd")
    assert reservation["min.compaction.lag.ms"] == str(DAY)
    assert configs_of(kafka.bootstrap_servers, f"{prefix}.exports")["retention.ms"] == "-1"
    assert configs_of(kafka.bootstrap_servers, f"{prefix}.dead-letters")["retention.ms"] == str(30 * DAY)


async def test_every_connection_may_have_topics_of_its_own(kafka: Kafka, prefix: str) -> None:
    await prepare_topics(settings(kafka, prefix, topics={"name": "{prefix}.{connection}.{type}"}))
    assert "alpine.reservation" in partitions_of(kafka.bootstrap_servers, prefix)
    assert "reservation" not in partitions_of(kafka.bootstrap_servers, prefix)


async def test_topics_that_are_there_are_never_altered(kafka: Kafka, prefix: str) -> None:
    create_topic(kafka.bootstrap_servers, f"{prefix}.reservation", partitions=5, cleanup_policy="delete")
    create_topic(kafka.bootstrap_servers, f"{prefix}.checkpoints", partitions=16)
    before = {name: configs_of(kafka.bootstrap_servers, f"{prefix}.{name}") for name in ("reservation", "checkpoints")}
    for _ in range(2):
        topics = await prepare_topics(settings(kafka, prefix))
        assert topics[f"{prefix}.reservation"].partitions == 5
    after = {name: configs_of(kafka.bootstrap_servers, f"{prefix}.{name}") for name in before}
    assert after == before == {"reservation": {"cleanup.policy": "delete"}, "checkpoints": {}}
    assert partitions_of(kafka.bootstrap_servers, prefix)["reservation"] == 5


async def test_a_topic_that_may_not_be_made_is_one_clear_error_that_names_all_that_are_missing(
    kafka: Kafka, prefix: str
) -> None:
    create_topic(kafka.bootstrap_servers, f"{prefix}.exports")
    with pytest.raises(FatalError) as caught:
        await prepare_topics(settings(kafka, prefix, topics={"create": False}))
    said = str(caught.value)
    assert "topics.create" in said
    for name in ("reservation", "dead-letters", "checkpoints"):
        assert f"{prefix}.{name}" in said
    assert f"{prefix}.exports" not in said
    assert list(partitions_of(kafka.bootstrap_servers, prefix)) == ["exports"]
    # It ends a daemon that starts, and none that is at work: a broker that has just come back knows few topics.
    with pytest.raises(KafkaUnavailableError, match=r"topics.create"):
        await prepare_topics_again(settings(kafka, prefix, topics={"create": False}))


@pytest.mark.parametrize("partitions", [1, 17])
async def test_a_checkpoint_topic_of_another_size_is_refused(kafka: Kafka, prefix: str, partitions: int) -> None:
    create_topic(kafka.bootstrap_servers, f"{prefix}.checkpoints", partitions=partitions)
    with pytest.raises(FatalError, match=rf"checkpoints has {partitions} partitions; it must have 16"):
        await prepare_topics(settings(kafka, prefix))


async def test_what_kafka_refuses_is_told_in_its_own_words(kafka: Kafka, prefix: str) -> None:
    override = {f"{prefix}.reservation": {"segment.ms": "soon"}}
    with pytest.raises(FatalError, match=rf"refuses to create the topic {prefix}\.reservation: .*segment\.ms"):
        await prepare_topics(settings(kafka, prefix, topics={"config": override}))


async def test_more_copies_than_there_are_brokers_are_refused_with_what_to_change(kafka: Kafka, prefix: str) -> None:
    with pytest.raises(FatalError, match=r"refuses to create the topic .*[Rr]eplication factor"):
        await prepare_topics(settings(kafka, prefix, topics={"replication_factor": 9}))
