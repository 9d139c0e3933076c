"""How connections to brokers get passwords and tokens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import aiokafka.client
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from streamer.config_kafka import KafkaConfig
from streamer.errors import ConfigError
from streamer.kafka import login
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

    monkeypatch.setattr(login, "_create_conn", refuse)
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
    assert "create_conn" in login._bootstrap.__code__.co_names
    assert "create_conn" in AIOKafkaClient._get_conn.__code__.co_names
    assert aiokafka.client.create_conn.__module__ in (login.__name__, "aiokafka.conn")


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer.MSKAuthTokenProvider", None)
    config = KafkaConfig(security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM", aws_region="eu-central-2")
    with pytest.raises(ConfigError, match=r"AWS_MSK_IAM needs the extra: pip install 'streamer\[msk\]'"):
        client_options(config)
