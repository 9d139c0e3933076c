"""What the settings refuse: one sentence with the path of the key, and never a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamer.config import load_config
from streamer.errors import ConfigError
from tests.unit.cases import cases
from tests.unit.config_files import CONNECTION, connection, refusal

ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


@cases(
    ("text", "message"),
    [
        ("[kafka]\nbootstrap_server = []", 'kafka.bootstrap_server: unknown key; did you mean "bootstrap_servers"?'),
        ("[kafak]", 'kafak: unknown key; did you mean "kafka"?'),
        ("kafka = 3", "kafka: expected a table, not a whole number"),
        ("[kafka]\nbootstrap_servers = 'a:1'", "kafka.bootstrap_servers: expected a list, not text in quotes"),
        ("[kafka]\nbootstrap_servers = ['a:1', 2]", "kafka.bootstrap_servers[1]: expected text in quotes, not"),
        ("[kafka]\nbootstrap_servers = []", "kafka.bootstrap_servers: name at least one broker"),
        ("[kafka]\nbootstrap_servers = ['a']", 'kafka.bootstrap_servers[0]: expected "host:port", not "a"'),
        ("[kafka]\ncompression = 'zst'", 'expected one of zstd, none, not "zst"; did you mean "zstd"?'),
        ("[kafka]\nsession_timeout = 10", 'kafka.session_timeout: expected a duration in quotes, such as "30s"'),
        ("[kafka]\nsession_timeout = '2s'", "kafka.session_timeout: expected 3s to 1800s"),
        ("[kafka]\ntransaction_timeout = '2s'", "kafka.transaction_timeout: has to be longer than exports."),
        ("[kafka]\nsasl_username = 'x'", 'kafka.sasl_username: needs security_protocol = "SASL_SSL"'),
        ("[kafka]\nsecurity_protocol = 'SASL_SSL'", "kafka.sasl_mechanism: is missing"),
        ("[kafka]\nsasl_password = 'password-canary'", "kafka.sasl_password: a secret is not written here"),
        ("[kafka]\nssl_ca_file = 'gone.pem'", "kafka.ssl_ca_file: there is no file gone.pem"),
        ("[kafka]\nssl_ca_file = 'config.toml'", 'kafka.ssl_ca_file: needs security_protocol = "SSL"'),
        (
            "[kafka]\nsecurity_protocol = 'SSL'\nssl_key_file = 'config.toml'",
            "kafka.ssl_key_file: needs ssl_cert_file",
        ),
        ("[topics]\nprefix = 'a b'", "topics.prefix: expected 1 to 100 of"),
        ("[topics]\nname = '{prefix}'", "topics.name: needs {type}"),
        ("[topics]\nname = '{type}.{entity}'", "topics.name: knows {prefix}, {connection} and {type}, not {entity}"),
        ("[topics]\nname = 'a b {type}'", "topics.name: would make a name that Kafka refuses"),
        ("[topics]\npartitions = 0", "topics.partitions: expected a whole number >= 1"),
        ("[topics]\npartitions = true", "topics.partitions: expected a whole number, not true or false"),
        ("[topics]\nreplication_factor = 0", "topics.replication_factor: expected 1 or more, or -1"),
        (
            "[topics]\nschema_registry = 'registry:8081'",
            "topics.schema_registry: expected a URL such as https://schemas.example.com",
        ),
        ("[topics]\nschema_registry_username = 'x'", "topics.schema_registry_username: needs schema_registry"),
        (
            "[topics]\nschema_registry = 'http://registry:8081'\nschema_registry_username = 'x'",
            "topics.schema_registry_password: is missing",
        ),
        (
            "[topics]\nschema_registry = 'http://registry:8081'\nschema_registry_username = 'x'\n"
            "schema_registry_password = { env = 'MEWS_CLIENT_TOKEN' }",
            "topics.schema_registry: expected https://; plain http:// is for this machine only",
        ),
        ("[topics.config.mews.exports]\n'a' = '1'", "names with dots go in quotes"),
        ("[topics.config]\n'mews.export' = {}", 'topics.config."mews.export": is no topic'),
        ("[exports]\nmax_line_bytes = 0", "exports.max_line_bytes: expected a whole number >= 1"),
        ("[exports]\ntransaction_bytes = 0", "exports.transaction_bytes: expected a whole number >= 1"),
        ("[exports]\ntransaction_seconds = 0.0", "exports.transaction_seconds: expected a number > 0"),
        ("[exports]\ntransaction_seconds = nan", "transaction"),
        ("[exports]\nblocked_pattern = '('", "exports.blocked_pattern: is no regular expression"),
        ("[exports]\nsnapshot_interval = 'off'", "exports.snapshot_interval: expected a duration"),
        ("[exports]\nsnapshot_interval = '1m'", "exports.update_interval: is longer than snapshot_interval"),
        ("[http]\nport = 70000", "http.port: expected a whole number <= 65535"),
    ],
)
def test_a_wrong_setting_is_named_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, f"{text}\n{CONNECTION}")


@cases(
    ("changed", "message"),
    [
        ({"name": '"Alpine"'}, "connections[0].name: expected 1 to 40 of a-z, 0-9 and -"),
        ({"platform_url": '"http://api.mews.com"'}, "connections[0].platform_url: expected https://"),
        ({"platform_url": '"http://127.0.0.1.example.com"'}, "connections[0].platform_url: expected https://"),
        ({"platform_url": '"api.mews.com"'}, "connections[0].platform_url: expected scheme and host"),
        ({"platform_url": '"https://[x"'}, "connections[0].platform_url: is no URL"),
        ({"platform_url": '"https://me:pw-canary@api.mews.com"'}, "expected scheme and host alone"),
        ({"access_token": '"token-canary"'}, "connections[0].access_token: a secret is not written here but where"),
        ({"access_token": '{ env = "A", file = "b" }'}, "connections[0].access_token: a secret is not written"),
        ({"access_token": '{ env = "GONE" }'}, "connections[0].access_token: the environment variable GONE is not"),
        ({"access_token": '{ env = "EMPTY" }'}, "the environment variable EMPTY is empty"),
        ({"access_token": '{ file = "gone" }'}, "connections[0].access_token: the file gone can't be read: No such"),
        ({"entity_types": "[]"}, "connections[0].entity_types: name at least one"),
        ({"entity_types": '["Bill", "Bill"]'}, "connections[0].entity_types[1]: Bill is there twice"),
        (
            {"entity_types": '["Reservations"]'},
            "connections[0].entity_types[0]: expected one of OrderItem, Payment, Reservation,",
        ),
        ({"entity_types": '["Reservations"]'}, 'not "Reservations"; did you mean "Reservation"?'),
        ({"enterprise_ids": '["a"]'}, 'connections[0].enterprise_ids[0]: expected an id such as "3fa85f64-'),
        ({"chain_ids": f'["{ID}", "{ID}"]'}, f"connections[0].chain_ids[1]: {ID} is there twice"),
        ({"acess_token": "1"}, 'connections[0].acess_token: unknown key; did you mean "access_token"?'),
    ],
)
def test_a_wrong_connection_is_named_with_its_path(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    assert message in refusal(tmp_path, connection(**changed), EMPTY=" ")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, '[[connections]]\nname = "a"') == "connections[0].platform_url: is missing"


def test_without_a_connection_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert refusal(tmp_path, "") == "connections: is missing"
    assert refusal(tmp_path, "connections = []").startswith("connections: at least one")


def test_two_connections_share_neither_name_nor_token(tmp_path: Path) -> None:
    assert refusal(tmp_path, CONNECTION + connection(access_token='{ env = "OTHER" }'), OTHER="x").startswith(
        "connections[1].name: connections[0] is called"
    )
    assert refusal(tmp_path, CONNECTION + connection(name='"other"')) == (
        "connections[1].access_token: is that of connections[0] too"
    )


def test_a_mistake_in_the_toml_is_named_with_its_line(tmp_path: Path) -> None:
    assert "at line 2" in refusal(tmp_path, "[kafka]\nclient_id = \n")


def test_a_missing_file_tells_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config FILE.* STREAMER_CONFIG.*config\.example\.toml"):
        load_config(tmp_path / "gone.toml", environ={})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="no UTF-8"):
        load_config(tmp_path / "config.toml", environ={})
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(tmp_path, environ={})
