"""With ``STREAMER_TEST_SECURITY=sasl_ssl`` every broker of the tests wants TLS, a login and rights for all it is asked.

The daemon and whatever else is under test logs in as a user who has the rights that docs/operations.md lists, and no
others. Certificates and tokens are made anew for each run.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka.admin import AdminClient

from streamer.config import KafkaConfig
from streamer.model import Secret
from streamer.sandbox.broker_security import BrokerSecurity
from tests.security import PASSWORDS, USER, grant, rights_of_the_daemon

if TYPE_CHECKING:
    from tests.authority import Authority

_MECHANISM = "SCRAM-SHA-512"


@functools.cache
def authority() -> Authority | None:
    """Who signs everything, where the run is a secured one."""
    wanted = os.environ.get("STREAMER_TEST_SECURITY", "")
    if not wanted:
        return None
    assert wanted == "sasl_ssl", f"STREAMER_TEST_SECURITY={wanted} is not known"
    # Here, because cryptography takes a while to import and hardly any run needs it.
    from tests.authority import Authority

    folder = tempfile.mkdtemp(prefix="streamer-authority-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Authority(Path(folder))


@functools.cache
def broker_security() -> BrokerSecurity | None:
    """For each broker that the tests start."""
    signer = authority()
    return signer.broker() if signer else None


def grant_rights(bootstrap_servers: str) -> None:
    """To be called once for each broker or cluster, which then keeps them."""
    if authority():
        # Tests choose prefixes as they go; what is tested is which operations are needed.
        documented = rights_of_the_daemon("")
        rights = [(operation, kind, name if kind == "cluster" else "*") for operation, kind, name in documented]
        grant(AdminClient(client(bootstrap_servers)), rights)


def client(bootstrap_servers: str) -> dict[str, Any]:
    """How the tests' own client of another library reaches a broker."""
    signer = authority()
    return signer.observer(bootstrap_servers) if signer else {"bootstrap.servers": bootstrap_servers}


def kafka_config(bootstrap_servers: str, **more: Any) -> KafkaConfig:
    """Settings for what is under test in the tests' own process."""
    signer = authority()
    if signer:
        more = {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": _MECHANISM,
            "sasl_username": USER,
            "sasl_password": Secret(PASSWORDS[USER]),
            "ssl_ca_file": signer.ca_file,
            **more,
        }
    return KafkaConfig(bootstrap_servers=tuple(bootstrap_servers.split(",")), **more)


def environment() -> dict[str, str]:
    """The same for what is under test in a process of its own: settings that win over those of its file."""
    signer = authority()
    if not signer:
        return {}
    return {
        "STREAMER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "STREAMER_KAFKA_SASL_MECHANISM": _MECHANISM,
        "STREAMER_KAFKA_SASL_USERNAME": USER,
        "STREAMER_KAFKA_SASL_PASSWORD": PASSWORDS[USER],
        "STREAMER_KAFKA_SSL_CA_FILE": str(signer.ca_file),
    }


@functools.cache
def tls_of_a_proxy() -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Both sides of somebody in between who reads along: towards clients, and towards the broker."""
    signer = authority()
    if not signer:
        return None, None
    towards_clients = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    towards_clients.load_cert_chain(signer.certificate("127.0.0.1", name="proxy"))
    return towards_clients, ssl.create_default_context(cafile=str(signer.ca_file))
