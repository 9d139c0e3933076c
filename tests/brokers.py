"""Which Apache Kafka the tests run against. Without one they fail: nothing is ever skipped."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from streamer.sandbox.kafka_ports import free_port
from streamer.sandbox.kafka_probe import describe_cluster
from streamer.sandbox.local_kafka import LocalKafka
from tests.secured import broker_security, grant_rights

IMAGE = "apache/kafka:4.3.0"


@dataclass(frozen=True)
class Kafka:
    bootstrap_servers: str
    local: LocalKafka | None = None
    """The broker as a process, where it is one of ours."""


@contextlib.contextmanager
def broker_for_tests(directory: Path, environment: Mapping[str, str]) -> Iterator[Kafka]:
    """The broker that the environment names, else one in Docker if asked for, else one started here."""
    if named := environment.get("STREAMER_TEST_KAFKA"):
        yield Kafka(named)
    elif environment.get("STREAMER_TEST_DOCKER") == "1":
        with broker_in_docker() as bootstrap_servers:
            yield Kafka(bootstrap_servers)
    else:
        with LocalKafka(directory, proxied_port=0, security=broker_security()) as local:
            grant_rights(local.bootstrap_servers)
            yield Kafka(local.bootstrap_servers, local)


@contextlib.contextmanager
def broker_in_docker() -> Iterator[str]:
    # Here, because importing it takes a while and hardly any run needs it.
    from testcontainers.core.container import DockerContainer

    # The same port inside and outside: the broker connects to itself as it is advertised.
    port = free_port()
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://localhost:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "500",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    }
    container = DockerContainer(IMAGE).with_bind_ports(port, port)
    for name, value in settings.items():
        container = container.with_env(name, value)
    with container:
        host = container.get_container_host_ip()
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if describe_cluster(host, port).brokers:
                    break
            if time.monotonic() > deadline:
                said = b"\n".join(container.get_logs()).decode(errors="replace")
                raise RuntimeError(f"{IMAGE} does not answer:\n{said[-4000:]}")
            time.sleep(0.1)
        yield f"{host}:{port}"
