"""What goes with which way to log in to Kafka."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cases import cases
from tests.unit.config_files import CONNECTION, load, refusal

LOGIN = '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = '
BY_PASSWORD = 'sasl_username = "u"\nsasl_password = { env = "PASSWORD" }\n'
BY_TOKEN = (
    'oauth_token_url = "https://login.example.com/token?tenant=1"\noauth_client_id = "c"\n'
    'oauth_client_secret = { env = "PASSWORD" }\n'
)


@cases(
    "settings",
    [
        f'"PLAIN"\n{BY_PASSWORD}',
        f'"SCRAM-SHA-256"\n{BY_PASSWORD}',
        f'"OAUTHBEARER"\n{BY_TOKEN}',
        f'"OAUTHBEARER"\n{BY_TOKEN}oauth_scope = "kafka"\n',
        '"AWS_MSK_IAM"\naws_region = "eu-central-1"\n',
    ],
)
def test_each_way_to_log_in_is_accepted_with_what_it_needs(tmp_path: Path, settings: str) -> None:
    config = load(tmp_path, LOGIN + settings + CONNECTION, PASSWORD="pw-canary")
    assert len(config.secrets()) == 2 + settings.count("PASSWORD")


@cases(
    ("settings", "message"),
    [
        ('"PLAIN"\nsasl_username = "u"', 'sasl_password: is missing: sasl_mechanism = "PLAIN" needs it'),
        ('"OAUTHBEARER"', 'oauth_token_url: is missing: sasl_mechanism = "OAUTHBEARER" needs it'),
        ('"AWS_MSK_IAM"', 'aws_region: is missing: sasl_mechanism = "AWS_MSK_IAM" needs it'),
        (f'"AWS_MSK_IAM"\naws_region = "x"\n{BY_PASSWORD}', 'sasl_username: is not for sasl_mechanism = "AWS_MSK_IAM"'),
        (f'"PLAIN"\n{BY_PASSWORD}oauth_scope = "x"', 'oauth_scope: is not for sasl_mechanism = "PLAIN" but for "OAUTH'),
        (
            f'"OAUTHBEARER"\n{BY_TOKEN}'.replace("https", "http"),
            "oauth_token_url: expected https://; plain http:// is for this machine only",
        ),
        (f'"OAUTHBEARER"\n{BY_TOKEN}'.replace("login.", "u:pw-canary@"), "oauth_token_url: expected a URL such as"),
    ],
)
def test_what_is_missing_or_without_effect_is_named(tmp_path: Path, settings: str, message: str) -> None:
    assert f"kafka.{message}" in refusal(tmp_path, f"{LOGIN}{settings}\n{CONNECTION}", PASSWORD="pw-canary")


def test_signed_requests_go_by_tls_alone(tmp_path: Path) -> None:
    settings = LOGIN.replace("SASL_SSL", "SASL_PLAINTEXT") + '"AWS_MSK_IAM"\naws_region = "x"\n'
    assert "kafka.sasl_mechanism: AWS_MSK_IAM needs" in refusal(tmp_path, settings + CONNECTION)
