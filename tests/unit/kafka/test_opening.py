"""How connections to brokers are opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiokafka.client
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from streamer.config_kafka import KafkaConfig
from streamer.kafka import opening
from streamer.kafka.connection import client_options, describe
from streamer.secret_files import SecretFile


async def test_each_connection_is_opened_with_the_password_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("password-1")
    secret = SecretFile(file)
    tried = []

    async def refuse(*_: object, **options: Any) -> None:
        tried.append((type(options["sasl_plain_password"]), options["sasl_plain_password"]))
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(opening, "_create_conn", refuse)
    config = KafkaConfig(
        bootstrap_servers=("127.0.0.1:1",),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        sasl_password=secret,
    )
    client = AIOKafkaClient(**client_options(config))
    for number in (1, 2):
        file.write_text(f"password-{number}")
        secret.read_again()
        with pytest.raises(KafkaConnectionError) as caught:
            await client.bootstrap()
        assert describe(caught.value).endswith("[Errno 111] refused")
    # aiokafka is given plain text, as ever.
    assert tried == [(str, "password-1"), (str, "password-2")]
    assert "password-" not in repr(client_options(config))


def test_a_connection_is_opened_by_the_name_that_is_replaced() -> None:
    assert "create_conn" in opening._bootstrap.__code__.co_names
    assert "create_conn" in AIOKafkaClient._get_conn.__code__.co_names
    assert aiokafka.client.create_conn.__module__ in (opening.__name__, "aiokafka.conn")
