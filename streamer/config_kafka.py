"""How Kafka is reached: brokers, delivery, and the many ways to log in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamer.config_rules import SERVER, check_address, check_between, refuse
from streamer.model import Secret

Words = Annotated[str, Meta(min_length=1)]

_NEEDED: dict[str, tuple[str, ...]] = {
    "PLAIN": ("sasl_username", "sasl_password"),
    "SCRAM-SHA-256": ("sasl_username", "sasl_password"),
    "SCRAM-SHA-512": ("sasl_username", "sasl_password"),
    "OAUTHBEARER": ("oauth_token_url", "oauth_client_id", "oauth_client_secret"),
    "AWS_MSK_IAM": ("aws_region",),
}
"""What each way to log in can't do without."""

_ALLOWED = {**_NEEDED, "OAUTHBEARER": (*_NEEDED["OAUTHBEARER"], "oauth_scope")}


class KafkaConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How Kafka is reached and what is asked of it."""

    bootstrap_servers: tuple[str, ...] = ("localhost:9092",)
    """``host:port`` of one broker or more; the others are learnt from them."""
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """``at_least_once`` is for brokers without transactions: after a crash records repeat, with the same ``ce_id``."""
    compression: Literal["zstd", "none"] = "zstd"
    """Compression of the batches. zstd makes entities several times smaller for little processor time."""
    client_id: Words = "streamer"
    """The name in the broker's logs and quotas."""
    session_timeout: timedelta = timedelta(seconds=10)
    """How soon a dead replica's work is taken over. At least three heartbeats of one second, so that one lost
    heartbeat moves nothing; brokers allow 6 s to 30 min unless told otherwise."""
    transaction_timeout: timedelta = timedelta(seconds=30)
    """After this time the broker aborts a transaction whose producer died; until then readers of committed
    records wait. A transaction itself lasts about a tenth of a second. Brokers allow up to 15 min."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """What the brokers' listener speaks."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] | None = None
    """How to log in, with ``SASL_…`` protocols. ``AWS_MSK_IAM`` is Amazon MSK's own way, with the credentials of the
    environment, and needs the extra ``msk``."""
    sasl_username: Words | None = None
    """Who logs in, with ``PLAIN`` and ``SCRAM-…``."""
    sasl_password: Secret | None = None
    """The password of ``sasl_username``."""
    oauth_token_url: str | None = None
    """With ``OAUTHBEARER``: where access tokens are given out for client credentials (RFC 6749, section 4.4)."""
    oauth_client_id: Words | None = None
    """The client that asks for access tokens."""
    oauth_client_secret: Secret | None = None
    """The secret of that client."""
    oauth_scope: Words | None = None
    """The scope to ask for, if the server wants one named."""
    aws_region: Words | None = None
    """With ``AWS_MSK_IAM``: the region of the cluster, such as ``eu-central-1``."""
    ssl_ca_file: Path | None = None
    """PEM file with the authority that signed the brokers' certificates; without it the system's are used."""
    ssl_cert_file: Path | None = None
    """PEM file with the client's certificate, for brokers that ask for one."""
    ssl_key_file: Path | None = None
    """PEM file with the key of that certificate, unless it is in the same file."""
    ssl_key_password: Secret | None = None
    """The password of that key, if it has one."""

    def __post_init__(self) -> None:
        if not self.bootstrap_servers:
            refuse("bootstrap_servers", 'name at least one broker, as ["host:9092"]')
        for i, server in enumerate(self.bootstrap_servers):
            if not SERVER.fullmatch(server):
                refuse(f"bootstrap_servers[{i}]", f'expected "host:port", not "{server}"')
        check_between("session_timeout", self.session_timeout, timedelta(seconds=3), timedelta(minutes=30))
        check_between("transaction_timeout", self.transaction_timeout, timedelta(seconds=1), timedelta(minutes=15))
        self._check_login()
        self._check_certificates()

    def secrets(self) -> list[Secret]:
        """What no log, metric, topic, error or page may show."""
        found = (self.sasl_password, self.oauth_client_secret, self.ssl_key_password)
        return [secret for secret in found if secret is not None]

    def _check_login(self) -> None:
        """The mechanism is there with a ``SASL_…`` protocol and only with it, and all that it needs and no more."""
        protocol, mechanism = self.security_protocol, self.sasl_mechanism
        with_sasl = protocol.startswith("SASL_")
        if with_sasl and mechanism is None:
            refuse("sasl_mechanism", f'is missing: security_protocol = "{protocol}" needs it')
        for name in dict.fromkeys(("sasl_mechanism", *(n for names in _ALLOWED.values() for n in names))):
            if getattr(self, name) is not None and not with_sasl:
                refuse(name, 'needs security_protocol = "SASL_SSL" (or "SASL_PLAINTEXT")')
            if mechanism is None or name == "sasl_mechanism":
                continue
            if getattr(self, name) is None and name in _NEEDED[mechanism]:
                refuse(name, f'is missing: sasl_mechanism = "{mechanism}" needs it')
            if getattr(self, name) is not None and name not in _ALLOWED[mechanism]:
                meant = " or ".join(f'"{other}"' for other, names in _ALLOWED.items() if name in names)
                refuse(name, f'is not for sasl_mechanism = "{mechanism}" but for {meant}')
        if mechanism == "AWS_MSK_IAM" and protocol != "SASL_SSL":
            refuse("sasl_mechanism", 'AWS_MSK_IAM needs security_protocol = "SASL_SSL"')
        if self.oauth_token_url is not None:
            example = "https://login.example.com/oauth2/token"
            check_address("oauth_token_url", self.oauth_token_url, example=example)

    def _check_certificates(self) -> None:
        """Files for TLS are there only where TLS is, and a key only with its certificate."""
        for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password"):
            if getattr(self, name) is not None and not self.security_protocol.endswith("SSL"):
                refuse(name, 'needs security_protocol = "SSL" (or "SASL_SSL")')
        for name in ("ssl_key_file", "ssl_key_password"):
            if getattr(self, name) is not None and self.ssl_cert_file is None:
                refuse(name, "needs ssl_cert_file, the certificate that the key belongs to")
