"""The topics on the brokers: making the missing ones, and reading back what they are like.

Existing topics are never altered; where they differ from what is wanted, ``differences`` says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.metadata import MetadataRequest

from streamer.config import CHECKPOINT_SHARDS, Config
from streamer.errors import FatalError, KafkaUnavailableError, RightsMissingError
from streamer.kafka.connection import CALL_SECONDS, answered_within, client_options
from streamer.topic_specs import LARGEST_BATCH_BY_DEFAULT, TopicSpec, topic_specs

_ALREADY_EXISTS = 36
_UNAUTHORIZED = frozenset({29, 30, 31, 53})
"""For a topic, a group, the cluster, a transactional id."""
_PASSING = frozenset({7, 15, 41, 89})
"""Timed out, no coordinator, no controller, throttled: another time the same question has another answer."""
_LOOKS, _LOOK_AGAIN_SECONDS = 50, 0.1


class Topic(msgspec.Struct, frozen=True):
    """What a topic is like. ``max_message_bytes`` limits a whole batch, not a record (measured)."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]

    @property
    def max_message_bytes(self) -> int:
        return int(self.configs.get("max.message.bytes", LARGEST_BATCH_BY_DEFAULT))


def differences(spec: TopicSpec, topic: Topic) -> list[str]:
    """What about an existing topic is not as wanted, a sentence each."""
    found = []
    if topic.partitions != spec.partitions:
        found.append(f"has {topic.partitions} partitions instead of {spec.partitions}")
    for name, value in sorted(_with_replicas(spec, topic.replication_factor).configs.items()):
        actual = topic.configs.get(name)
        if actual != value:
            found.append(f"has {name}={actual} instead of {value}")
    return found


def _with_replicas(spec: TopicSpec, replication_factor: int) -> TopicSpec:
    """With one in-sync replica a committed record could be lost while its checkpoint lives."""
    if replication_factor < 3:
        return spec
    return msgspec.structs.replace(spec, configs={"min.insync.replicas": "2", **spec.configs})


class TopicAdmin:
    """Makes topics and reads what they are like. Raises ``KafkaUnavailableError``; ``FatalError`` for a refusal."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    @classmethod
    async def connect(cls, config: Config) -> TopicAdmin:
        """A connected one. To be closed."""
        admin = AIOKafkaAdminClient(**client_options(config.kafka))
        try:
            async with answered_within(CALL_SECONDS, "connecting to the brokers"):
                await admin.start()
        except BaseException:
            # Also when nobody waits for the answer any more.
            await admin.close()
            raise
        return cls(admin)

    async def close(self) -> None:
        """Close the connection."""
        await self._admin.close()

    async def describe(self, names: Iterable[str]) -> dict[str, Topic]:
        """Those of the topics that exist, by name. Raises ``RightsMissingError`` too."""
        wanted = list(names)
        async with answered_within(CALL_SECONDS, "describing topics"):
            # Not `describe_topics`: that asks in a way in which brokers make what is missing, by Kafka's default, with
            # one partition (measured).
            question = MetadataRequest(wanted, allow_auto_topic_creation=False)
            described = (await self._admin._send_request(question)).to_object()["topics"]
            hidden = [topic["topic"] for topic in described if topic["error_code"] in _UNAUTHORIZED]
            if hidden:
                raise RightsMissingError(f"Describe topic {name}" for name in hidden)
            found = {topic["topic"]: topic for topic in described if topic["error_code"] == 0}
            configs = await self._configs(ConfigResourceType.TOPIC, list(found))
        return {
            name: Topic(
                name=name,
                partitions=len(topic["partitions"]),
                replication_factor=min((len(part["replicas"]) for part in topic["partitions"]), default=0),
                configs=configs.get(name, {}),
            )
            for name, topic in found.items()
        }

    async def create(self, specs: Sequence[TopicSpec], *, replication_factor: int, only_try: bool = False) -> None:
        """Make topics; one that exists by now is left as it is. ``replication_factor`` -1 is the broker's default.

        ``only_try``: have the broker say whether it would, and make none. Raises ``RightsMissingError`` too.
        """
        replicas = replication_factor if replication_factor > 0 else await self._default_replication_factor()
        new = [
            NewTopic(
                spec.name,
                spec.partitions,
                replicas,
                topic_configs=dict(_with_replicas(spec, replicas).configs),
            )
            for spec in specs
        ]
        doing = "trying the creation of topics" if only_try else "creating topics"
        async with answered_within(CALL_SECONDS, doing):
            await self._until_there_is_a_controller()
            answer = await self._admin.create_topics(new, timeout_ms=int(CALL_SECONDS * 1000), validate_only=only_try)
        # Refusals come back in the answer, not as exceptions.
        refused = [name for name, code, *_ in answer.topic_errors if code in _UNAUTHORIZED]
        if refused:
            raise RightsMissingError(f"Create topic {name}" for name in refused)
        for name, code, *message in answer.topic_errors:
            if code not in (0, _ALREADY_EXISTS):
                refusal = f"Kafka refuses to create the topic {name}: {message[0] if message else code}"
                raise KafkaUnavailableError(refusal) if code in _PASSING else FatalError(refusal)

    async def _until_there_is_a_controller(self) -> None:
        """aiokafka asks for one once, and takes its absence for an attribute that isn't there."""
        client = self._admin._client
        while client.cluster.controller is None:
            await client.force_metadata_update()
            if client.cluster.controller is None:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _default_replication_factor(self) -> int:
        """aiokafka speaks a version of CreateTopics in which the broker can't be left to choose (KIP-464)."""
        async with answered_within(CALL_SECONDS, "asking for the default replication factor"):
            cluster = await self._admin.describe_cluster()
            broker = str(cluster["brokers"][0]["node_id"])
            configs = await self._configs(ConfigResourceType.BROKER, [broker])
        return int(configs[broker].get("default.replication.factor", "1"))

    async def _configs(self, kind: ConfigResourceType, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        answers = await self._admin.describe_configs([ConfigResource(kind, name) for name in names])
        resources = [resource for answer in answers for resource in answer.resources]
        # Without configs a topic would seem to be as Kafka makes them, and a broker to keep one copy of everything.
        hidden = [name for code, _message, _kind, name, _entries in resources if code in _UNAUTHORIZED]
        if hidden and kind is ConfigResourceType.BROKER:
            raise RightsMissingError(["DescribeConfigs cluster (or set topics.replication_factor)"])
        if hidden:
            raise RightsMissingError(f"DescribeConfigs topic {name}" for name in hidden)
        return {name: {entry[0]: entry[1] for entry in entries} for _code, _message, _kind, name, entries in resources}


async def _describe_new(admin: TopicAdmin, names: Iterable[str]) -> dict[str, Topic]:
    """The topics, once all are known: brokers hear of a new one a moment after the controller has made it."""
    wanted = list(names)
    for _ in range(_LOOKS):
        topics = await admin.describe(wanted)
        if len(topics) == len(wanted):
            return topics
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    return await admin.describe(wanted)


async def partitions_of(config: Config, name: str) -> int:
    """How many partitions a topic has, 0 where there is none of that name. Raises ``KafkaUnavailableError``."""
    admin = await TopicAdmin.connect(config)
    try:
        topic = (await admin.describe([name])).get(name)
    finally:
        await admin.close()
    return topic.partitions if topic else 0


async def prepare_topics(config: Config) -> dict[str, Topic]:
    """Every topic of ``config``, by name, made where missing. Raises ``FatalError`` where one can't be had.

    Only the signals' may be left out, by whoever makes the topics: streams go on without hearing any, then.
    """
    topics = await _had_or_made(config)
    _check_partitions(config, topics)
    return topics


async def _had_or_made(config: Config) -> dict[str, Topic]:
    admin = await TopicAdmin.connect(config)
    try:
        specs = {spec.name: spec for spec in topic_specs(config)}
        topics = await admin.describe(specs)
        if not config.topics.create and config.topics.signals not in topics:
            del specs[config.topics.signals]
        missing = [spec for name, spec in specs.items() if name not in topics]
        if missing and not config.topics.create:
            names = ", ".join(spec.name for spec in missing)
            raise FatalError(f"topics are missing and topics.create is off: {names}")
        if missing:
            await admin.create(missing, replication_factor=config.topics.replication_factor)
            topics = await _describe_new(admin, specs)
    finally:
        await admin.close()
    for name in specs:
        if name not in topics:
            raise KafkaUnavailableError(f"the topic {name} is not known to the brokers yet")
    return topics


def _check_partitions(config: Config, topics: Mapping[str, Topic]) -> None:
    """What no waiting mends. Raises ``FatalError``."""
    shards = topics[config.topics.checkpoints].partitions
    if shards != CHECKPOINT_SHARDS:
        raise FatalError(
            f"the topic {config.topics.checkpoints} has {shards} partitions; it must have {CHECKPOINT_SHARDS}, "
            "because a stream's place in it must never change"
        )
    signals = topics.get(config.topics.signals)
    if signals is not None and signals.partitions != 1:
        raise FatalError(
            f"the topic {signals.name} has {signals.partitions} partitions; it must have 1, because a stream keeps its "
            "place in it as one number"
        )


async def prepare_topics_again(config: Config) -> None:
    """The same for a daemon that is at work: topics that are missing, or can't be made for now, are waited for.

    A broker that has just started knows few topics, and one of three copies can't be placed while a broker is away.
    Raises ``KafkaUnavailableError``, and ``FatalError`` where a topic was made anew with other partitions.
    """
    try:
        topics = await _had_or_made(config)
    except FatalError as error:
        raise KafkaUnavailableError(str(error)) from error
    _check_partitions(config, topics)
