"""Certificates and tokens for brokers that are secured, made anew for each run."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from streamer.sandbox.broker_security import BrokerSecurity
from tests.security import OBSERVER, PASSWORDS


class Authority:
    """One that brokers and clients trust, and what it has signed, in a folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        self._signing_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.jwks_file = directory / "jwks.json"
        self.jwks_file.write_text(json.dumps({"keys": [_jwk(self._signing_key.public_key())]}))

    def certificate(self, *hosts: str, name: str, file: str = "") -> Path:
        """PEM file with key, certificate and chain, for hosts or for a client of that name."""
        issued = self._authority.issue_cert(*(hosts or (f"{name}@example.com",)), common_name=name)
        key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        path = self.directory / f"{file or name}.pem"
        # Java takes no other form of a key.
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        for certificate in issued.cert_chain_pems:
            certificate.write_to_path(str(path), append=True)
        return path

    def token(self, subject: str, *, seconds: float = 3600) -> str:
        """A signed token (RFC 7519) of somebody, as the broker takes it."""
        now = time.time()
        claims = {"sub": subject, "aud": "kafka", "scope": "kafka", "iat": int(now), "exp": int(now + seconds)}
        text = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "1"}, claims))
        return f"{text}.{_encoded(self._signing_key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def broker(self, more: Mapping[str, str] | None = None) -> BrokerSecurity:
        """A broker whose certificate is from here. ``more`` are properties of the broker."""
        return BrokerSecurity(
            key_file=self.certificate("127.0.0.1", "localhost", name="broker"),
            ca_file=self.ca_file,
            passwords=PASSWORDS,
            super_users=(OBSERVER,),
            jwks_file=self.jwks_file,
            more=more or {},
        )

    def observer(self, bootstrap_servers: str) -> dict[str, Any]:
        """How a client of librdkafka looks at a broker's SASL_SSL listener."""
        return {
            "bootstrap.servers": bootstrap_servers,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": OBSERVER,
            "sasl.password": PASSWORDS[OBSERVER],
            "ssl.ca.location": str(self.ca_file),
        }


def _jwk(key: rsa.RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    n, e = (number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (numbers.n, numbers.e))
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": _encoded(n), "e": _encoded(e)}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
