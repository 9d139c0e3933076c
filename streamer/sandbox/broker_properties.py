"""The settings of a local broker: where it listens, and what makes it quick and small."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamer.sandbox.broker_security import BrokerSecurity, protocol_of
from streamer.sandbox.kafka_ports import HOST

# What makes tests quick, and a small machine enough.
_QUICK = {
    "auto.create.topics.enable": "false",
    # A killed broker may come back only when the controller has given its former self up: by default after 9 s. Much
    # shorter, and a broker that a busy machine held up for a moment would be taken for dead.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
}


@dataclass(frozen=True)
class BrokerPorts:
    """Where a broker listens, and what it says of that."""

    plain: int
    """In the clear, for the brokers themselves too."""
    controllers: Mapping[int, int]
    """The controllers of the cluster by node id, this one among them."""
    secured: Mapping[str, int]
    """By kind, of ``SECURED_LISTENERS``."""
    proxied: int | None = None
    """Where a proxy listens, which the broker advertises."""
    behind_proxy: int | None = None
    """Where the proxy connects to."""


def broker_properties(
    node_id: int, directory: Path, ports: BrokerPorts, security: BrokerSecurity | None, more: Mapping[str, str]
) -> dict[str, str]:
    """All properties of a broker that keeps its data below ``directory``; those in ``more`` win."""
    listeners = {"PLAINTEXT": ports.plain, "CONTROLLER": ports.controllers[node_id]}
    advertised = {"PLAINTEXT": ports.plain}
    if ports.proxied is not None and ports.behind_proxy is not None:
        listeners["PROXIED"] = ports.behind_proxy
        advertised["PROXIED"] = ports.proxied
    speaks = dict.fromkeys(listeners, "PLAINTEXT")
    secured: dict[str, str] = {}
    if security:
        listeners |= ports.secured
        advertised |= ports.secured
        secured = {kind: kind for kind in ports.secured}
        secured |= {"PROXIED": "SASL_SSL"} if ports.proxied is not None else {}
        speaks |= {name: protocol_of(kind) for name, kind in secured.items()}
    replicas = str(min(len(ports.controllers), 3))
    in_sync = str(min(len(ports.controllers), 2))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node_id),
        "controller.quorum.voters": ",".join(
            f"{node}@{HOST}:{port}" for node, port in sorted(ports.controllers.items())
        ),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": _listeners(listeners),
        "advertised.listeners": _listeners(advertised),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in speaks.items()),
        "log.dirs": str(directory / "data"),
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        **_QUICK,
        **(security.properties(secured) if security else {}),
        **more,
    }


def _listeners(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())
