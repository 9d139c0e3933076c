"""Several local brokers as one cluster, of which one may be lost."""

import contextlib
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from streamer.sandbox.broker_security import BrokerSecurity
from streamer.sandbox.kafka_jars import LocalKafkaError, Progress, fetch_kafka
from streamer.sandbox.kafka_ports import PortTakenError, free_port
from streamer.sandbox.local_kafka import START_ATTEMPTS, START_SECONDS, LocalKafka


class LocalKafkaCluster:
    """Brokers that replicate to one another, each of them a controller too: with three, any one may be lost.

    `nodes` are the brokers, each to be killed, paused and restarted by itself. Topics have three replicas and
    need two of them, unless they ask for something else. `proxied` gives each a second listener, for a proxy.
    """

    def __init__(
        self,
        directory: Path,
        *,
        brokers: int = 3,
        broker_properties: Mapping[str, str] | None = None,
        proxied: bool = False,
        security: BrokerSecurity | None = None,
    ) -> None:
        self.directory = directory
        self._security = security
        self._count = brokers
        self._proxied = proxied
        self._broker_properties = dict(broker_properties or {})
        self._choose_nodes()

    def _choose_nodes(self) -> None:
        controllers = {node: free_port() for node in range(1, self._count + 1)}
        self.nodes = tuple(
            LocalKafka(
                self.directory / f"node-{node}",
                broker_properties=self._broker_properties,
                proxied_port=0 if self._proxied else None,
                security=self._security,
                node_id=node,
                controllers=controllers,
            )
            for node in controllers
        )

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.bootstrap_servers for node in self.nodes)

    def start(self, progress: Progress | None = None) -> None:
        """Start all, and return when every one knows all the others."""
        fetch_kafka(progress)
        attempts_left = START_ATTEMPTS
        while True:
            attempts_left -= 1
            try:
                self._start_nodes()
                return
            except PortTakenError:
                self.stop()
                if not attempts_left:
                    raise
                self._choose_nodes()
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        with self._threads() as threads:
            list(threads.map(LocalKafka.stop, self.nodes))

    def wait_until_whole(self, *, timeout: float = START_SECONDS) -> None:
        """Return when every broker knows all the others to be up, as after a restart of one."""
        deadline = time.monotonic() + timeout
        for node in self.nodes:
            while True:
                with contextlib.suppress(OSError):
                    if len(node.brokers()) == self._count:
                        break
                if time.monotonic() > deadline:
                    raise LocalKafkaError(f"broker {node.node_id} does not see all {self._count} after {timeout:.0f} s")
                time.sleep(0.05)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_nodes(self) -> None:
        # All at once: none of them is up before most of them are.
        with self._threads() as threads:
            list(threads.map(LocalKafka.start, self.nodes))
        self.wait_until_whole()

    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._count, thread_name_prefix="kafka")
