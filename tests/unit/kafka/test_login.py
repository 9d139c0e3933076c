"""How connections to brokers get passwords and tokens."""

from __future__ import annotations

import sys

import pytest

from streamer.config_kafka import KafkaConfig
from streamer.errors import ConfigError
from streamer.kafka.connection import client_options


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer.MSKAuthTokenProvider", None)
    config = KafkaConfig(security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM", aws_region="eu-central-2")
    with pytest.raises(ConfigError, match=r"AWS_MSK_IAM needs the extra: pip install 'streamer\[msk\]'"):
        client_options(config)
