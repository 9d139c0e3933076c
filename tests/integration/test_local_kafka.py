import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streamer.sandbox import kafka_cache
from streamer.sandbox.kafka_jars import LocalKafkaError, fetch_kafka
from streamer.sandbox.kafka_ports import HOST, free_port
from streamer.sandbox.local_cluster import LocalKafkaCluster
from streamer.sandbox.local_kafka import LocalKafka
from tests.brokers import Kafka
from tests.secured import broker_security, client


def create_topic(bootstrap_servers: str, topic: str, *, replicas: int = 1) -> None:
    admin = AdminClient(client(bootstrap_servers))
    for created in admin.create_topics([NewTopic(topic, 1, replicas)]).values():
        created.result(30)


def publish(bootstrap_servers: str, topic: str, *values: bytes, commit: bool = True) -> None:
    producer = Producer({**client(bootstrap_servers), "transactional.id": f"{topic}-producer"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def committed(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {
            **client(bootstrap_servers),
            "group.id": f"{topic}-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        values: list[bytes] = []
        deadline = time.monotonic() + 30
        while len(values) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                value = message.value()
                assert isinstance(value, bytes)
                values.append(value)
        return values
    finally:
        consumer.close()


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_another_client_reads_what_was_committed_and_not_what_was_aborted(kafka: Kafka, prefix: str) -> None:
    create_topic(kafka.bootstrap_servers, prefix)
    publish(kafka.bootstrap_servers, prefix, b"one", b"two")
    publish(kafka.bootstrap_servers, prefix, b"never", commit=False)
    publish(kafka.bootstrap_servers, prefix, b"three")
    assert committed(kafka.bootstrap_servers, prefix, 3) == [b"one", b"two", b"three"]


def test_the_listener_behind_a_proxy_advertises_the_port_of_the_proxy(local_kafka: LocalKafka) -> None:
    assert local_kafka.brokers() == {1: (HOST, local_kafka.port)}
    behind = AdminClient(client(f"{HOST}:{local_kafka.port_behind_proxy}")).list_topics(timeout=30).brokers
    told = {broker.id: f"{broker.host}:{broker.port}" for broker in behind.values()}
    assert told == {1: local_kafka.proxied_bootstrap_servers}
    assert len({local_kafka.port, local_kafka.port_behind_proxy, local_kafka.proxied_port}) == 3


class TestOneThatIsKilledAndStopped:
    @pytest.fixture
    def broker(self, tmp_path: Path) -> Iterator[LocalKafka]:
        with LocalKafka(tmp_path / "a folder with spaces", security=broker_security()) as broker:
            yield broker

    def test_it_comes_back_with_its_ports_and_data_and_leaves_no_process(self, broker: LocalKafka, prefix: str) -> None:
        create_topic(broker.bootstrap_servers, prefix)
        publish(broker.bootstrap_servers, prefix, b"before")
        first, address = broker.pid, broker.bootstrap_servers

        broker.kill()
        assert not broker.running
        assert not is_there(first)
        with pytest.raises(LocalKafkaError, match="not running"):
            _ = broker.pid

        broker.start()
        assert broker.bootstrap_servers == address
        publish(broker.bootstrap_servers, prefix, b"after")
        assert committed(broker.bootstrap_servers, prefix, 2) == [b"before", b"after"]

        broker.pause()
        with pytest.raises(TimeoutError):
            broker.brokers(timeout=0.3)
        broker.resume()
        assert wait_for(lambda: len(broker.brokers()) == 1)

        second = broker.pid
        broker.stop()
        assert not is_there(second)
        broker.stop()


def test_a_port_that_one_process_was_given_is_free_for_its_own_server_and_for_no_other_process() -> None:
    port = free_port()
    seek = f"import socket; socket.socket().bind(({HOST!r}, {port}))"
    elsewhere = subprocess.run([sys.executable, "-c", seek], stderr=subprocess.PIPE, text=True, check=False)
    # Elsewhere what keeps it from others would keep it from its own server.
    assert ("Address already in use" in elsewhere.stderr) == (sys.platform == "linux")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))
    for _ in range(2):
        with socket.create_server((HOST, port)), socket.create_connection((HOST, port)):
            pass


def test_a_broker_that_does_not_start_says_why(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path, broker_properties={"num.io.threads": "none"})
    with pytest.raises(LocalKafkaError, match=r"(?s)Invalid value none for configuration num.io.threads"):
        broker.start()
    assert not broker.running


def test_the_broker_ends_with_the_process_that_started_it_even_if_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from streamer.sandbox.local_kafka import LocalKafka
        broker = LocalKafka(Path(sys.argv[1]))
        broker.start()
        print(broker.pid, flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        broker = int(parent.stdout.readline())
        assert is_there(broker)
        parent.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not is_there(broker))


def test_a_cluster_of_three_goes_on_without_one_and_takes_it_back(tmp_path: Path, prefix: str) -> None:
    with LocalKafkaCluster(tmp_path, security=broker_security()) as cluster:
        create_topic(cluster.bootstrap_servers, prefix, replicas=3)
        publish(cluster.bootstrap_servers, prefix, b"three of them")
        cluster.nodes[0].kill()
        publish(cluster.bootstrap_servers, prefix, b"two of them")
        cluster.nodes[0].start()
        cluster.wait_until_whole()
        assert committed(cluster.bootstrap_servers, prefix, 2) == [b"three of them", b"two of them"]


def test_a_broker_starts_as_ever_where_what_is_kept_for_a_quick_start_can_not_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = kafka_cache.cache_file(fetch_kafka())
    assert file is not None
    file.parent.mkdir(parents=True)
    file.write_bytes(b"rubbish")
    with LocalKafka(tmp_path / "kafka") as broker:
        assert len(broker.brokers()) == 1
