"""The settings: what a file and the environment come to, and the one sentence for whatever is wrong in them."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from streamer.config import (
    CHECKPOINT_SHARDS,
    ConnectionConfig,
    ExportsConfig,
    HttpConfig,
    KafkaConfig,
    TopicsConfig,
    load_config,
)
from streamer.config_values import parse_duration
from streamer.model import PUBLIC_ENTITY_TYPES, ConnectionName, EntityType, Secret, Shard, StreamKey
from tests.unit.cases import cases
from tests.unit.config_files import CONNECTION, ENVIRON, connection, load, refusal

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


# --- what is read ---------------------------------------------------------------------------------------------


def test_a_connection_is_all_that_has_to_be_said(tmp_path: Path) -> None:
    config = load(tmp_path, CONNECTION)
    assert config.kafka == KafkaConfig()
    assert config.topics == TopicsConfig()
    assert config.exports == ExportsConfig()
    assert config.http == HttpConfig()
    assert config.connections == (
        ConnectionConfig(
            name=ConnectionName("alpine-hotels"),
            platform_url="https://api.mews.com",
            client_token=Secret("client-canary"),
            access_token=Secret("access-canary"),
        ),
    )
    assert config.streams() == tuple(StreamKey(ConnectionName("alpine-hotels"), t) for t in PUBLIC_ENTITY_TYPES)


def test_the_example_says_the_defaults() -> None:
    config = load_config(EXAMPLE, environ=ENVIRON)
    assert config.kafka == KafkaConfig()
    assert config.topics == TopicsConfig()
    assert config.exports == ExportsConfig()
    assert config.http == HttpConfig()
    assert config.connections[0].entity_types == PUBLIC_ENTITY_TYPES


@cases(
    ("section", "kind"),
    [
        ("kafka", KafkaConfig),
        ("topics", TopicsConfig),
        ("exports", ExportsConfig),
        ("http", HttpConfig),
        ("connections", ConnectionConfig),
    ],
)
def test_the_example_shows_every_key_and_hides_only_those_without_a_value(
    section: str, kind: type[msgspec.Struct]
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    shown = tomllib.loads(text)[section]
    everything = tomllib.loads(uncommented(text))[section]
    if section == "connections":
        (shown,), (everything,) = shown, everything
    fields = {f.name: f for f in msgspec.structs.fields(kind)}
    assert everything.keys() == fields.keys()
    for name in everything.keys() - shown.keys():
        field = fields[name]
        empty = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        assert not empty, f"{name} has a default that the example should show"


def test_the_examples_commented_keys_are_right_too(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    for name in ("ca.pem", "client.pem", "client.key", "client.key.password"):
        (tmp_path / "tls" / name).write_text("key-canary\n", encoding="utf-8")
    text = uncommented(EXAMPLE.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^security_protocol = .*$", 'security_protocol = "SASL_SSL"', text)
    # The keys of other ways to log in: see test_config_kafka.py.
    text = re.sub(r"(?m)^(oauth|aws)_.*$", "", text)
    text = re.sub(r"(?m)^(enterprise|chain)_ids = .*$", "", text)
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    secrets = {
        "KAFKA_PASSWORD": "kafka-canary",
        "SCHEMA_REGISTRY_PASSWORD": "registry-canary",
        "ERASURE_KEY": "erasure-canary",
        "HASH_KEY": "hash-canary",
    }
    config = load_config(tmp_path / "config.toml", environ={**ENVIRON, **secrets})
    assert config.kafka.sasl_password == Secret("kafka-canary")
    assert config.kafka.ssl_key_password == Secret("key-canary")
    assert config.kafka.ssl_ca_file == tmp_path / "tls" / "ca.pem"
    assert config.topics.config == {"mews.reservation": {"min.compaction.lag.ms": "172800000"}}
    revealed = [secret.reveal() for secret in config.secrets()]
    names = ("kafka", "key", "client", "access", "registry", "erasure", "hash")
    assert revealed == [f"{name}-canary" for name in names]


def uncommented(text: str) -> str:
    """The example with the keys that it shows behind a ``#``; prose has a space after it."""
    return re.sub(r"(?m)^#(?=[\w\[\"])", "", text)


@cases(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
    ],
)
def test_durations_read_as_people_write_them(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@cases("text", ["", "5", "5 m", "1.5h", "-1s", "0s", "5min", "1w", "٣s", "999999999999999d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


def test_updates_can_be_switched_off(tmp_path: Path) -> None:
    assert load(tmp_path, '[exports]\nupdate_interval = "off"\n' + CONNECTION).exports.update_interval is None


def test_a_secret_comes_from_a_file_beside_the_settings_without_the_newline(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n", encoding="utf-8")
    config = load(tmp_path, connection(access_token='{ file = "token" }'))
    assert config.connections[0].access_token == Secret("from-a-file")


def test_no_secret_is_in_the_repr_of_the_settings(tmp_path: Path) -> None:
    assert "canary" not in repr(load(tmp_path, CONNECTION))


def test_topic_settings_may_be_written_as_numbers_and_truths(tmp_path: Path) -> None:
    text = '[topics.config."mews.exports"]\n"retention.ms" = 1000\n"preallocate" = true\n"cleanup.policy" = "delete"\n'
    assert load(tmp_path, text + CONNECTION).topics.config == {
        "mews.exports": {"retention.ms": "1000", "preallocate": "true", "cleanup.policy": "delete"}
    }


@cases(
    ("url", "kept"),
    [
        ("https://api.mews.com/", "https://api.mews.com"),
        ("http://127.0.0.1:8181", "http://127.0.0.1:8181"),
        ("http://localhost:8181", "http://localhost:8181"),
        ("http://[::1]:8181", "http://[::1]:8181"),
    ],
)
def test_tokens_go_to_https_or_to_this_machine(tmp_path: Path, url: str, kept: str) -> None:
    assert load(tmp_path, connection(platform_url=f'"{url}"')).connections[0].platform_url == kept


def test_topics_are_named_after_prefix_type_and_where_asked_for_connection() -> None:
    key = StreamKey(ConnectionName("alpine"), EntityType.ORDER_ITEM)
    topics = TopicsConfig()
    assert topics.entity_topic(key) == "mews.order-item"
    assert TopicsConfig(name="{prefix}.{connection}.{type}").entity_topic(key) == "mews.alpine.order-item"
    assert [topics.events, topics.dead_letters, topics.checkpoints, topics.signals] == [
        "mews.exports",
        "mews.dead-letters",
        "mews.checkpoints",
        "mews.signals",
    ]
    assert topics.group == "mews.streamer"
    assert topics.transactional_id(Shard(CHECKPOINT_SHARDS - 1)) == "mews.streamer.15"


# --- the environment ------------------------------------------------------------------------------------------


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        '[kafka]\nclient_id = "file"\n[exports]\npoll_interval = "1m"\n' + CONNECTION,
        STREAMER_KAFKA_BOOTSTRAP_SERVERS="a:9092, [::1]:9093",
        STREAMER_KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        STREAMER_KAFKA_SASL_MECHANISM="PLAIN",
        STREAMER_KAFKA_SASL_USERNAME="streamer",
        STREAMER_KAFKA_SASL_PASSWORD="kafka-canary",
        STREAMER_TOPICS_CREATE="false",
        STREAMER_EXPORTS_POLL_INTERVAL="500ms",
        STREAMER_EXPORTS_UPDATE_INTERVAL="off",
        STREAMER_EXPORTS_TRANSACTION_SECONDS="0.5",
        STREAMER_HTTP_PORT="0",
    )
    assert config.kafka.bootstrap_servers == ("a:9092", "[::1]:9093")
    assert config.kafka.client_id == "file"
    assert config.kafka.sasl_password == Secret("kafka-canary")
    assert config.topics.create is False
    assert config.exports.poll_interval == timedelta(milliseconds=500)
    assert config.exports.update_interval is None
    assert config.exports.transaction_seconds == 0.5
    assert config.http.port == 0


def test_variables_that_are_not_settings_are_left_alone(tmp_path: Path) -> None:
    load(tmp_path, CONNECTION, STREAMER_CONFIG="x", STREAMER_TEST_KAFKA="x", STREAMER_SERVICE_HOST="10.0.0.1")


@cases(
    ("variable", "value", "message"),
    [
        ("STREAMER_KAFKA_FOO", "1", "STREAMER_KAFKA_FOO: this environment variable sets no key that there is"),
        ("STREAMER_EXPORT_POLL_INTERVAL", "1s", "did you mean STREAMER_EXPORTS_POLL_INTERVAL?"),
        ("STREAMER_EXPORTS_MAX_ACTIVE", "many", "exports.max_active: expected a whole number, not text"),
        ("STREAMER_EXPORTS_MAX_ACTIVE", "0", "(set by STREAMER_EXPORTS_MAX_ACTIVE)"),
        ("STREAMER_KAFKA_BOOTSTRAP_SERVERS", "a:1,b", 'kafka.bootstrap_servers[1]: expected "host:port"'),
        ("STREAMER_KAFKA_SASL_PASSWORD", "", "the environment variable STREAMER_KAFKA_SASL_PASSWORD is empty"),
        ("STREAMER_TOPICS_CONFIG", "x", "can be set in the file only"),
        ("STREAMER_HTTP_PORT", "tcp://10.0.0.1:80", "switch enableServiceLinks off"),
        ("STREAMER_KAFKA_SERVICE_HOST", "10.0.0.1", "switch enableServiceLinks off"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str, message: str) -> None:
    assert message in refusal(tmp_path, CONNECTION, **{variable: value})


def test_delivery_at_least_once_is_accepted(tmp_path: Path) -> None:
    assert load(tmp_path, f"[kafka]\ndelivery = 'at_least_once'\n{CONNECTION}").kafka.delivery == "at_least_once"
