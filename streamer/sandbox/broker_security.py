"""What a secured local broker needs beyond the plain one: listeners with TLS and logins, users, and access control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SECURED_LISTENERS = ("SASL_SSL", "SASL_PLAINTEXT", "SSL", "MUTUAL")
"""By name: the protocols of Kafka, and ``MUTUAL``, which is SSL where the client has to show a certificate."""

_MODULES = "org.apache.kafka.common.security"
_OAUTH = f"{_MODULES}.oauthbearer"
_VALIDATOR = f"{_OAUTH}.OAuthBearerValidatorCallbackHandler"


@dataclass(frozen=True)
class BrokerSecurity:
    """A listener of each kind, and the standard authorizer, which allows nobody anything until ACLs say so.

    Brokers and controllers talk to one another in the clear, as ``ANONYMOUS``, who may do everything: so may whoever
    comes to the ``SSL`` listener, which asks nobody for a name.
    """

    key_file: Path
    """PEM file with the broker's key (PKCS 8), its certificate and the chain above it."""
    ca_file: Path
    """PEM file with the authority that signs clients' certificates."""
    passwords: Mapping[str, str]
    """Who may log in by PLAIN and SCRAM."""
    super_users: tuple[str, ...] = ()
    """Who may do everything."""
    jwks_file: Path | None = None
    """The keys that OAuth tokens are signed with, as JSON (RFC 7517); without it nobody logs in by token."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Properties of the broker that win over those here."""

    @property
    def mechanisms(self) -> list[str]:
        always = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
        return [*always, "OAUTHBEARER"] if self.jwks_file else always

    @property
    def java_options(self) -> tuple[str, ...]:
        """Java's own word that the file may be read: by default tokens are checked by no address at all."""
        allowed = "org.apache.kafka.sasl.oauthbearer.allowed.urls"
        return (f"-D{allowed}={self.jwks_file.as_uri()}",) if self.jwks_file else ()

    @property
    def format_options(self) -> list[str]:
        """Arguments of the storage tool: SCRAM keeps its users in the cluster's metadata, from the start."""
        return [
            argument
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for user, password in self.passwords.items()
            for argument in ("--add-scram", f"{mechanism}=[name={user},password={password}]")
        ]

    def properties(self, listeners: Mapping[str, str]) -> dict[str, str]:
        """The broker's properties. ``listeners`` are names with what each speaks, one of ``SECURED_LISTENERS``."""
        known = "".join(f' user_{user}="{password}"' for user, password in self.passwords.items())
        properties = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": ";".join(f"User:{user}" for user in ("ANONYMOUS", *self.super_users)),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.key_file),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca_file),
            # The name alone, without what else a certificate says.
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
            "sasl.enabled.mechanisms": ",".join(self.mechanisms),
        }
        for name, kind in listeners.items():
            own = f"listener.name.{name.lower()}"
            properties[f"{own}.ssl.client.auth"] = "required" if kind == "MUTUAL" else "none"
            if not kind.startswith("SASL"):
                continue
            properties[f"{own}.plain.sasl.jaas.config"] = f"{_MODULES}.plain.PlainLoginModule required{known};"
            for mechanism in ("scram-sha-256", "scram-sha-512"):
                properties[f"{own}.{mechanism}.sasl.jaas.config"] = f"{_MODULES}.scram.ScramLoginModule required;"
            if self.jwks_file:
                properties |= {
                    f"{own}.oauthbearer.sasl.jaas.config": f"{_OAUTH}.OAuthBearerLoginModule required;",
                    f"{own}.oauthbearer.sasl.server.callback.handler.class": _VALIDATOR,
                    f"{own}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": self.jwks_file.as_uri(),
                    f"{own}.oauthbearer.sasl.oauthbearer.expected.audience": "kafka",
                }
        return {**properties, **self.more}


def protocol_of(kind: str) -> str:
    """The security protocol, as Kafka names it, of a kind of listener."""
    return "SSL" if kind == "MUTUAL" else kind
