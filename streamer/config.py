"""The settings: one TOML file, every default here, secrets outside it.

A struct checks itself when it is made, so that no code behind ever meets settings that contradict themselves.
``config.example.toml`` shows every key; a test holds it to the defaults below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamer.config_kafka import KafkaConfig as KafkaConfig
from streamer.config_rules import (
    TOPIC_NAME,
    TOPIC_PREFIX,
    check_address,
    check_between,
    check_ids,
    check_placeholders,
    refuse,
    rooted_url,
)
from streamer.config_values import Decoder, from_variable, read_toml, suggestion, with_overrides
from streamer.core.scope import Scope
from streamer.errors import ConfigError
from streamer.model import CONNECTION_NAME, PUBLIC_ENTITY_TYPES, ConnectionName, EntityType, Secret, Shard, StreamKey

CHECKPOINT_SHARDS = 16
"""Partitions of the checkpoint topic: how many replicas can share the work. Never changed, or streams would
move between shards and leave their checkpoints behind."""

Whole = Annotated[int, Meta(ge=1)]
Words = Annotated[str, Meta(min_length=1)]


class TopicsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The topics: their names, and how missing ones are created. Existing ones are never altered."""

    prefix: Words = "mews"
    """Where the names of all topics, of the consumer group and of the transactional ids begin."""
    name: Words = "{prefix}.{type}"
    """The name of an entity topic. With ``{connection}`` in it, every connection has topics of its own."""
    create: bool = True
    """Whether missing topics are created; without it they are an error."""
    partitions: Whole = 12
    """Partitions of a new entity topic. For life: more would strand old versions in a compacted topic."""
    replication_factor: int = -1
    """Copies of a new topic's partitions; -1 is the broker's default."""
    headers: Literal["cloudevents", "none"] = "cloudevents"
    """CloudEvents headers on every record (binary mode), or no headers at all."""
    schema_registry: str | None = None
    """Where ``streamer contract register`` registers the JSON Schemas: the URL of what speaks the API of Confluent's
    Schema Registry. The daemon itself never calls it."""
    schema_registry_username: Words | None = None
    """Who logs in there, if somebody has to."""
    schema_registry_password: Secret | None = None
    """The password of ``schema_registry_username``."""
    schema_registry_ca_file: Path | None = None
    """PEM file with the authority that signed its certificate; without it, those that Python brings along are used."""
    config: dict[str, dict[str, str]] = {}
    """Topic settings of Kafka, by topic, that win over streamer's own when the topic is created."""

    def __post_init__(self) -> None:
        if not TOPIC_PREFIX.fullmatch(self.prefix):
            refuse("prefix", "expected 1 to 100 of A-Z a-z 0-9 . _ - beginning with a letter or digit")
        if self.replication_factor != -1 and self.replication_factor < 1:
            refuse("replication_factor", "expected 1 or more, or -1 for the broker's default")
        check_placeholders("name", self.name)
        longest = self.entity_topic(StreamKey(ConnectionName("c" * 40), EntityType.AVAILABILITY_ADJUSTMENT))
        if not TOPIC_NAME.fullmatch(longest):
            refuse("name", f"would make a name that Kafka refuses, such as {longest}")
        self._check_registry()

    def entity_topic(self, key: StreamKey) -> str:
        """Where the entities of a stream go: ``mews.order-item``."""
        name = self.name.replace("{prefix}", self.prefix).replace("{connection}", key.connection)
        return name.replace("{type}", key.entity_type.slug)

    @property
    def is_apart(self) -> bool:
        """Whether each connection has topics of its own."""
        return "{connection}" in self.name

    @property
    def events(self) -> str:
        """Where it is told what became of the exports."""
        return f"{self.prefix}.exports"

    @property
    def dead_letters(self) -> str:
        """Where lines go that can never become a record."""
        return f"{self.prefix}.dead-letters"

    @property
    def checkpoints(self) -> str:
        """Where streamer keeps what it knows to be published."""
        return f"{self.prefix}.checkpoints"

    @property
    def signals(self) -> str:
        """Where a person's commands to running streams go."""
        return f"{self.prefix}.signals"

    @property
    def group(self) -> str:
        """The consumer group that shares the shards out."""
        return f"{self.prefix}.streamer"

    def transactional_id(self, shard: Shard) -> str:
        """The identity of a shard's producer: stable for ever, as a new holder of it fences the old one."""
        return f"{self.prefix}.streamer.{shard}"

    def _check_registry(self) -> None:
        """A login is whole, and there is something to log in to."""
        login = {name: getattr(self, f"schema_registry_{name}") for name in ("username", "password", "ca_file")}
        for name, value in login.items():
            if value is not None and self.schema_registry is None:
                refuse(f"schema_registry_{name}", "needs schema_registry, the URL")
        if (login["username"] is None) != (login["password"] is None):
            missing = "password" if login["password"] is None else "username"
            refuse(f"schema_registry_{missing}", "is missing: a login has a name and a password")
        if self.schema_registry is not None:
            example, secret = "https://schemas.example.com", login["password"] is not None
            check_address("schema_registry", self.schema_registry, example=example, with_secret=secret)


class ExportsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When exports are asked for, and how they are published."""

    poll_interval: timedelta = timedelta(minutes=5)
    """How often Mews is asked how far an export is. Mews asks for no more than every five minutes."""
    snapshot_interval: timedelta = timedelta(days=7)
    """How often everything is exported anew."""
    update_interval: timedelta | None = timedelta(minutes=15)
    """How often what was updated since is exported; ``"off"``: snapshots only."""
    window_overlap: timedelta = timedelta(minutes=10)
    """How far a window reaches back behind the end of the last one, for rows that appear late."""
    window_margin: timedelta = timedelta(minutes=1)
    """How far a window's end stays behind what Mews allows, five minutes before its now, for clocks that disagree."""
    ledger_lookback: timedelta = timedelta(days=7)
    """How far ``LedgerEntry`` windows reach back, for entries posted to earlier days; whole days."""
    max_active: Whole = 4
    """How many exports one process downloads at once. Each needs memory for about two blocks."""
    max_line_bytes: Annotated[int, Meta(ge=1, le=500_000_000)] = 1_000_000
    """The longest line that becomes a record, in bytes; longer ones are dead letters. Most have a few KB."""
    max_dead_letters: Annotated[int, Meta(ge=0)] = 100
    """How many dead letters an export may have; one more fails it, as all of it is suspect then."""
    transaction_bytes: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 16_000_000
    """A block is closed at this size, in bytes of lines. 16 MB were faster than 4 or 8 MB."""
    transaction_seconds: Annotated[float, Meta(gt=0, le=600)] = 2.0
    """A block is closed at this age, however small, so that a slow download is seen too."""
    reconcile: bool = True
    """Whether a snapshot leaves out what its topic says already, and marks what is gone. Off: every line, always."""
    reconcile_memory: Annotated[int, Meta(ge=1_000_000)] = 268_435_456
    """Bytes for comparing, all streams of a process together: 29 an entity. With less, files are read several times."""
    max_tombstone_share: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """The largest part of a topic's entities that one snapshot may declare gone, or 20 of them; above it,
    a person has to look."""
    shared_keys: bool = True
    """Whether several connections may reach the same customers and companies. Then, in a topic that they share, none
    of them declares one gone."""
    blocked_limit: timedelta = timedelta(hours=24)
    """How long a stream waits for an export of somebody else to end before a person is asked to look."""
    blocked_pattern: str = r"(?i)\b(already|pending|processing|running)\b"
    """Regular expression for the text of a 400 that means that an export is running; there is no code."""
    size_mismatch: Literal["fail", "accept"] = "fail"
    """What to do where a complete file is not as long as Mews announced: fail the export, or accept it and warn."""
    validate: Literal["off", "warn", "dead_letter"] = "off"
    """Hold each line against the schema of its type: count and log what differs, or also make it a dead letter instead
    of a record."""
    erasure_key: Secret | None = None
    """The key by which erased entities are known (``streamer signal erase``): the Ids themselves are kept nowhere."""
    kernel: Literal["auto", "off"] = "auto"
    """Whether lines become records, and records are read back, in machine code where that is installed: the same
    result, for less CPU time."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.blocked_pattern)
        except re.error as error:
            refuse("blocked_pattern", f"is no regular expression: {error}")
        if self.update_interval is not None and self.update_interval > self.snapshot_interval:
            refuse("update_interval", 'is longer than snapshot_interval; "off" means snapshots only')
        check_between("window_overlap", self.window_overlap, timedelta(), timedelta(days=30))
        check_between("window_margin", self.window_margin, timedelta(), timedelta(days=1))
        check_between("ledger_lookback", self.ledger_lookback, timedelta(days=1), timedelta(days=90))


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The server for probes, metrics and the status page."""

    host: Words = "0.0.0.0"  # noqa: S104 (probes come from outside the pod; nothing there is secret or changes anything)
    """The address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """The port; 0 takes any free one."""


class ConnectionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One Mews access token and what is exported with it."""

    name: ConnectionName
    """``[a-z0-9-]{1,40}``, unique and kept for ever: checkpoints and ``ce_source`` carry it."""
    platform_url: str
    """Scheme and host of Mews' platform, ``https://api.mews.com``; plain http for this machine only."""
    client_token: Secret
    """The token of the integration."""
    access_token: Secret
    """The token of the property or portfolio: the one that Mews counts requests and exports by."""
    entity_types: tuple[EntityType, ...] = PUBLIC_ENTITY_TYPES
    """What is exported, each as a stream of its own; all nine of the public list unless told otherwise."""
    enterprise_ids: tuple[str, ...] = ()
    """Enterprises to export, sent as ``Scope`` for the types that belong to one; empty: all that the token reaches."""
    chain_ids: tuple[str, ...] = ()
    """Chains to export, sent as ``Scope`` for customers and companies; empty: all that the token reaches."""

    def __post_init__(self) -> None:
        if not CONNECTION_NAME.fullmatch(self.name):
            refuse("name", f'expected 1 to 40 of a-z, 0-9 and -, not "{self.name}"')
        msgspec.structs.force_setattr(self, "platform_url", rooted_url("platform_url", self.platform_url))
        if not self.entity_types:
            refuse("entity_types", "name at least one, or leave the key out for all nine")
        for i, entity_type in enumerate(self.entity_types):
            if entity_type in self.entity_types[:i]:
                refuse(f"entity_types[{i}]", f"{entity_type} is there twice")
        check_ids("enterprise_ids", self.enterprise_ids)
        check_ids("chain_ids", self.chain_ids)

    @property
    def scope(self) -> Scope:
        """What is asked for of all that the token reaches."""
        return Scope(enterprise_ids=self.enterprise_ids, chain_ids=self.chain_ids)


class EntityConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is left of an entity type's lines where personal data may not be stored; nothing is changed by default."""

    drop_fields: tuple[str, ...] = ()
    """Fields of the entity, not of objects within it, that are left out."""
    hash_fields: tuple[str, ...] = ()
    """Fields in whose place their keyed hash is published."""
    hash_key: Secret | None = None
    """The key of the hashes. Another key means other hashes, for all entities that come after."""

    def __post_init__(self) -> None:
        if not self.drop_fields and not self.hash_fields:
            refuse("drop_fields", "name fields here or in hash_fields, or leave the table out")
        for name in ("drop_fields", "hash_fields"):
            for i, field in enumerate(getattr(self, name)):
                if field in ("Id", "UpdatedUtc"):
                    refuse(f"{name}[{i}]", f"{field} has to stay: records are keyed and ordered by it")
        for i, field in enumerate(self.hash_fields):
            if field in self.drop_fields:
                refuse(f"hash_fields[{i}]", f"{field} is in drop_fields too")
        if self.hash_fields and self.hash_key is None:
            refuse("hash_key", "is needed for hash_fields: a hash without a key can be undone by guessing")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings of one process."""

    kafka: KafkaConfig = KafkaConfig()
    """How Kafka is reached."""
    topics: TopicsConfig = TopicsConfig()
    """The topics."""
    exports: ExportsConfig = ExportsConfig()
    """When exports are asked for, and how they are published."""
    http: HttpConfig = HttpConfig()
    """Probes, metrics, status page."""
    entity: dict[EntityType, EntityConfig] = {}
    """By entity type, what may not be published of it: ``[entity.Customer]``."""
    connections: tuple[ConnectionConfig, ...]
    """The access tokens, one table ``[[connections]]`` each; at least one."""

    def __post_init__(self) -> None:
        if not self.connections:
            refuse("connections", "at least one [[connections]] is needed")
        for i, connection in enumerate(self.connections):
            for j, earlier in enumerate(self.connections[:i]):
                if connection.name == earlier.name:
                    refuse(f"connections[{i}].name", f'connections[{j}] is called "{connection.name}" too')
                if connection.access_token == earlier.access_token:
                    refuse(f"connections[{i}].access_token", f"is that of connections[{j}] too")
        # Written so that nan is refused as well.
        if not self.exports.transaction_seconds < self.kafka.transaction_timeout.total_seconds():
            refuse("kafka.transaction_timeout", "has to be longer than exports.transaction_seconds")
        ours = self.topics
        topics = {ours.events, ours.dead_letters, ours.checkpoints, ours.signals}
        topics |= {ours.entity_topic(StreamKey(c.name, t)) for c in self.connections for t in EntityType}
        for topic in self.topics.config:
            if topic not in topics:
                problem = f"is no topic of these settings{suggestion(topic, topics)}"
                refuse(f'topics.config."{topic}"', problem)

    def streams(self) -> tuple[StreamKey, ...]:
        """All streams, in the order of the file."""
        return tuple(StreamKey(c.name, t) for c in self.connections for t in c.entity_types)

    def secrets(self) -> tuple[Secret, ...]:
        """Everything that no log, metric, topic, error or page may show."""
        found = self.kafka.secrets()
        for connection in self.connections:
            found += [connection.client_token, connection.access_token]
        if self.topics.schema_registry_password is not None:
            found.append(self.topics.schema_registry_password)
        return (*found, *self.hash_keys())

    def hash_keys(self) -> tuple[Secret, ...]:
        """Those secrets that hashes in topics and checkpoints are made with: another key would make other hashes."""
        keys = (self.exports.erasure_key, *(entity.hash_key for entity in self.entity.values()))
        return tuple(key for key in keys if key is not None)


_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "kafka": KafkaConfig,
    "topics": TopicsConfig,
    "exports": ExportsConfig,
    "http": HttpConfig,
}


def load_config(path: Path, *, environ: Mapping[str, str], with_secrets: bool = True) -> Config:
    """The settings in the file, overridden by those in the environment; ``ConfigError`` and nothing else.

    Without secrets, each of them is the name of its key: for whoever only wants to know what the topics are like.
    """
    data, origins = with_overrides(read_toml(path), _SECTIONS, environ)
    try:
        config = Decoder(environ=environ, directory=path.parent, with_secrets=with_secrets).struct(Config, data)
    except ConfigError as error:
        raise from_variable(error, origins, environ) from None
    return config
