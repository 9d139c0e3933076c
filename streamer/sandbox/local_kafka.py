"""A real Apache Kafka on this machine, for the demo and the tests; `local_cluster.py` makes a cluster of several.

All methods block, so that a broker belongs to no event loop and no task: call them through
`asyncio.to_thread` where a loop must go on turning. `kill`, `pause` and `resume` take less than a
millisecond.

No broker outlives the process that started it, however that ends: see `watchdog.py`.
"""

import contextlib
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from streamer.sandbox import kafka_cache
from streamer.sandbox.broker_process import BrokerProcess
from streamer.sandbox.broker_properties import BrokerPorts, broker_properties
from streamer.sandbox.broker_security import SECURED_LISTENERS, BrokerSecurity
from streamer.sandbox.kafka_jars import KafkaProgram, LocalKafkaError, Progress, fetch_kafka
from streamer.sandbox.kafka_ports import HOST, PortTakenError, free_port
from streamer.sandbox.kafka_probe import describe_cluster

# One identity for all: a folder that was used before can be used again.
_CLUSTER_ID = "c3RyZWFtZXItc2FuZGJveA"

START_SECONDS = 90.0
START_ATTEMPTS = 3

_JAVA_OPTIONS = (
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


class LocalKafka:
    """One Apache Kafka broker, which is its own controller unless `controllers` says otherwise.

    Everything it keeps lies in `directory`: `server.properties`, `data/`, `kafka.log`. It keeps its ports
    from one start to the next.

    With `proxied_port` it has a second listener that it advertises on that port and not on its own, so that a
    TCP proxy can sit between it and those clients who start from the proxy: the proxy listens on
    `proxied_port` and connects to `port_behind_proxy`. Zero chooses a free port; `proxied_port` then says
    which.

    With `security` clients have to come by TLS and log in: `bootstrap_servers`, and the listener behind the proxy, are
    then SASL_SSL; `bootstrap_for` names the other kinds. The listener in the clear stays, for the brokers themselves.

    `java_options` are given to Java in the place of those for a quick start (`kafka_cache.py`).
    """

    def __init__(
        self,
        directory: Path,
        *,
        broker_properties: Mapping[str, str] | None = None,
        proxied_port: int | None = None,
        security: BrokerSecurity | None = None,
        node_id: int = 1,
        controllers: Mapping[int, int] | None = None,
        java_options: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self._more_java_options = tuple(java_options)
        self.node_id = node_id
        self._security = security
        self._broker_properties = dict(broker_properties or {})
        self._proxied_port = free_port() if proxied_port == 0 else proxied_port
        self._fixed_controllers = dict(controllers) if controllers is not None else None
        self._was_up = False
        self._program: KafkaProgram | None = None
        self._process: BrokerProcess | None = None
        self._choose_ports()

    def _choose_ports(self) -> None:
        self._ports = BrokerPorts(
            plain=free_port(),
            behind_proxy=free_port() if self._proxied_port is not None else None,
            proxied=self._proxied_port,
            secured={kind: free_port() for kind in SECURED_LISTENERS} if self._security else {},
            controllers=self._fixed_controllers or {self.node_id: free_port()},
        )

    @property
    def port(self) -> int:
        """The listener in the clear."""
        return self._ports.plain

    @property
    def bootstrap_servers(self) -> str:
        return self.bootstrap_for("SASL_SSL") if self._security else f"{HOST}:{self.port}"

    def bootstrap_for(self, kind: str) -> str:
        """The listener of a kind, one of `SECURED_LISTENERS`."""
        return f"{HOST}:{self._ports.secured[kind]}"

    @property
    def proxied_port(self) -> int:
        """The port where a proxy must listen."""
        if self._proxied_port is None:
            raise LocalKafkaError("this broker has no listener behind a proxy: give it a proxied_port")
        return self._proxied_port

    @property
    def port_behind_proxy(self) -> int:
        """The port that a proxy must connect to."""
        if self._ports.behind_proxy is None:
            raise LocalKafkaError("this broker has no listener behind a proxy: give it a proxied_port")
        return self._ports.behind_proxy

    @property
    def proxied_bootstrap_servers(self) -> str:
        return f"{HOST}:{self.proxied_port}"

    @property
    def log_file(self) -> Path:
        return self.directory / "kafka.log"

    @property
    def running(self) -> bool:
        """Whether there is a process; a paused one counts."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        return self._alive().pid

    def start(self, progress: Progress | None = None) -> None:
        """Start, and return when the broker answers. `progress` hears of jars that must be fetched first."""
        if self.running:
            raise LocalKafkaError(f"the broker in {self.directory} is running already")
        if self._program is None:
            self._program = fetch_kafka(progress)
        attempts_left = START_ATTEMPTS
        while True:
            attempts_left -= 1
            try:
                self._format(self._program)
                self._launch(self._program)
            except PortTakenError:
                # Clients know the ports of a broker that was up, and other nodes know this one's: those must
                # stay.
                if self._was_up or self._fixed_controllers is not None or not attempts_left:
                    raise
                self._choose_ports()
            else:
                self._was_up = True
                return

    def stop(self) -> None:
        """End in good order, or after 20 s in any case. Does nothing when it is not running."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End at once, as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Stop if need be, and start with the same ports and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stand still, connections open, as a machine that hangs does. Returns once no thread runs any more."""
        self._alive().pause()

    def resume(self) -> None:
        if self._process is not None:
            self._process.resume()

    def brokers(self, *, timeout: float = 2.0) -> dict[int, tuple[str, int]]:
        """The brokers that this one knows to be up, by node id, as it advertises them. Raises OSError."""
        return describe_cluster(HOST, self.port, timeout=timeout).brokers

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _alive(self) -> BrokerProcess:
        if self._process is None or not self._process.running:
            raise LocalKafkaError(f"the broker in {self.directory} is not running")
        return self._process

    def _format(self, program: KafkaProgram) -> None:
        """Write the settings, and prepare the folder for the data unless that was done before."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = self.directory / "server.properties"
        properties = broker_properties(
            self.node_id, self.directory, self._ports, self._security, self._broker_properties
        )
        # A properties file takes single backslashes away, which a folder's name may hold.
        lines = (f"{key}={value}\n".replace("\\", "\\\\") for key, value in properties.items())
        settings.write_text("".join(lines))
        if (self.directory / "data" / "meta.properties").exists():
            return
        command = program.command(
            "kafka.tools.StorageTool",
            *("format", "--cluster-id", _CLUSTER_ID, "--config", str(settings)),
            *(self._security.format_options if self._security else ()),
            options=(*_JAVA_OPTIONS, "-XX:TieredStopAtLevel=1", *kafka_cache.options(program)),
        )
        finished = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            timeout=START_SECONDS,
        )
        if finished.returncode:
            raise LocalKafkaError(f"Apache Kafka could not prepare {self.directory}:\n{finished.stdout.strip()}")

    def _launch(self, program: KafkaProgram) -> None:
        options = (*_JAVA_OPTIONS, *(self._security.java_options if self._security else ()))
        options += self._more_java_options or kafka_cache.options(program)
        command = program.command("kafka.Kafka", str(self.directory / "server.properties"), options=options)
        self._process = BrokerProcess(command, self.log_file)
        try:
            self._wait_until_up(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_up(self, process: BrokerProcess) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.running:
            with contextlib.suppress(OSError):
                cluster = describe_cluster(HOST, self.port)
                if self.node_id in cluster.brokers:
                    return
            if time.monotonic() > deadline:
                raise LocalKafkaError(f"Apache Kafka did not answer within {START_SECONDS:.0f} s:\n{process.said()}")
            time.sleep(0.05)
        said = process.said()
        if "Address already in use" in said:
            raise PortTakenError(f"a port that Apache Kafka was to listen on is taken:\n{said}")
        raise LocalKafkaError(f"Apache Kafka did not start:\n{said}")
