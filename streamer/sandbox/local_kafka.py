"""A real Apache Kafka on this machine, as one process or as a cluster, for the demo and the tests.

All methods block, so that a broker belongs to no event loop and no task: call them through
`asyncio.to_thread` where a loop must go on turning. `kill`, `pause` and `resume` take less than a
millisecond.

No broker outlives the process that started it, however that ends: see `watchdog.py`.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from streamer.sandbox import watchdog
from streamer.sandbox.broker_security import SECURED_LISTENERS, BrokerSecurity, protocol_of
from streamer.sandbox.kafka_jars import KafkaProgram, LocalKafkaError, Progress, fetch_kafka
from streamer.sandbox.kafka_probe import describe_cluster

HOST = "127.0.0.1"

# One identity for all: a folder that was used before can be used again.
_CLUSTER_ID = "c3RyZWFtZXItc2FuZGJveA"

# Below the range that Linux, macOS and Windows take the ports of outgoing connections from. A client that
# keeps trying to reach a killed broker would otherwise, now and then, be given the broker's own port, connect
# to itself, and keep the broker from coming back.
_PORTS = range(15_000, 32_000)

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0
_START_ATTEMPTS = 3

_JAVA_OPTIONS = (
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)

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


class PortTakenError(LocalKafkaError):
    """Between choosing a port and listening on it, somebody else took it."""


_STOPPED_SECONDS = 5.0
"""How long threads may take to notice a SIGSTOP, which on a busy machine is not at once."""


def _stands_still(pid: int) -> bool:
    """Whether the system has stopped every thread of the process; taken for granted where it can't be asked."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            # The name before the state is in brackets and may hold anything, brackets too.
            states.append(stat.read_text().rpartition(")")[2].split()[0])
    return all(state in "Tt" for state in states)


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
    ) -> None:
        self.directory = directory
        self.node_id = node_id
        self._security = security
        self._broker_properties = dict(broker_properties or {})
        self._proxied_port = free_port() if proxied_port == 0 else proxied_port
        self._fixed_controllers = dict(controllers) if controllers is not None else None
        self._was_up = False
        self._program: KafkaProgram | None = None
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0
        self._choose_ports()

    def _choose_ports(self) -> None:
        self.port = free_port()
        self._port_behind_proxy = free_port() if self._proxied_port is not None else None
        self._secured_ports = {kind: free_port() for kind in SECURED_LISTENERS} if self._security else {}
        self._controllers = self._fixed_controllers or {self.node_id: free_port()}

    @property
    def bootstrap_servers(self) -> str:
        return self.bootstrap_for("SASL_SSL") if self._security else f"{HOST}:{self.port}"

    def bootstrap_for(self, kind: str) -> str:
        """The listener of a kind, one of `SECURED_LISTENERS`."""
        return f"{HOST}:{self._secured_ports[kind]}"

    @property
    def proxied_port(self) -> int:
        """The port where a proxy must listen."""
        if self._proxied_port is None:
            raise LocalKafkaError("this broker has no listener behind a proxy: give it a proxied_port")
        return self._proxied_port

    @property
    def port_behind_proxy(self) -> int:
        """The port that a proxy must connect to."""
        if self._port_behind_proxy is None:
            raise LocalKafkaError("this broker has no listener behind a proxy: give it a proxied_port")
        return self._port_behind_proxy

    @property
    def proxied_bootstrap_servers(self) -> str:
        return f"{HOST}:{self.proxied_port}"

    @property
    def log_file(self) -> Path:
        return self.directory / "kafka.log"

    @property
    def running(self) -> bool:
        """Whether there is a process; a paused one counts."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if not self.running:
            raise LocalKafkaError(f"the broker in {self.directory} is not running")
        return self._pid

    def start(self, progress: Progress | None = None) -> None:
        """Start, and return when the broker answers. `progress` hears of jars that must be fetched first."""
        if self.running:
            raise LocalKafkaError(f"the broker in {self.directory} is running already")
        if self._program is None:
            self._program = fetch_kafka(progress)
        attempts_left = _START_ATTEMPTS
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
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self._end()

    def kill(self) -> None:
        """End at once, as `kill -9` does."""
        self._signal(signal.SIGKILL)
        self._end()

    def restart(self) -> None:
        """Stop if need be, and start with the same ports and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stand still, connections open, as a machine that hangs does. Returns once no thread runs any more."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + _STOPPED_SECONDS
        while not _stands_still(self.pid) and time.monotonic() < deadline:
            time.sleep(0.01)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def brokers(self, *, timeout: float = 2.0) -> dict[int, tuple[str, int]]:
        """The brokers that this one knows to be up, by node id, as it advertises them. Raises OSError."""
        return describe_cluster(HOST, self.port, timeout=timeout).brokers

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _properties(self) -> dict[str, str]:
        listeners = {"PLAINTEXT": self.port, "CONTROLLER": self._controllers[self.node_id]}
        advertised = {"PLAINTEXT": self.port}
        if self._proxied_port is not None:
            listeners["PROXIED"] = self.port_behind_proxy
            advertised["PROXIED"] = self._proxied_port
        speaks = dict.fromkeys(listeners, "PLAINTEXT")
        secured: dict[str, str] = {}
        if self._security:
            listeners |= self._secured_ports
            advertised |= self._secured_ports
            secured = {kind: kind for kind in self._secured_ports}
            secured |= {"PROXIED": "SASL_SSL"} if self._proxied_port is not None else {}
            speaks |= {name: protocol_of(kind) for name, kind in secured.items()}
        replicas = str(min(len(self._controllers), 3))
        in_sync = str(min(len(self._controllers), 2))
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "controller.quorum.voters": ",".join(
                f"{node}@{HOST}:{port}" for node, port in sorted(self._controllers.items())
            ),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": _listeners(listeners),
            "advertised.listeners": _listeners(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in speaks.items()),
            "log.dirs": str(self.directory / "data"),
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            **_QUICK,
            **(self._security.properties(secured) if self._security else {}),
            **self._broker_properties,
        }

    def _format(self, program: KafkaProgram) -> None:
        """Write the settings, and prepare the folder for the data unless that was done before."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = self.directory / "server.properties"
        # A properties file takes single backslashes away, which a folder's name may hold.
        lines = (f"{key}={value}\n".replace("\\", "\\\\") for key, value in self._properties().items())
        settings.write_text("".join(lines))
        if (self.directory / "data" / "meta.properties").exists():
            return
        command = program.command(
            "kafka.tools.StorageTool",
            *("format", "--cluster-id", _CLUSTER_ID, "--config", str(settings)),
            *(self._security.format_options if self._security else ()),
            options=(*_JAVA_OPTIONS, "-XX:TieredStopAtLevel=1"),
        )
        finished = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            timeout=_START_SECONDS,
        )
        if finished.returncode:
            raise LocalKafkaError(f"Apache Kafka could not prepare {self.directory}:\n{finished.stdout.strip()}")

    def _launch(self, program: KafkaProgram) -> None:
        options = (*_JAVA_OPTIONS, *(self._security.java_options if self._security else ()))
        command = program.command("kafka.Kafka", str(self.directory / "server.properties"), options=options)
        with self.log_file.open("ab") as log:
            said_before = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C is for the program that started the broker; that one stops it in good order.
                start_new_session=True,
            )
        try:
            self._pid = int(_pipe(self._process.stdout).readline() or 0)
            self._wait_until_up(self._process, said_before)
        except BaseException:
            self.kill()
            raise

    def _wait_until_up(self, process: subprocess.Popen[str], said_before: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None:
            with contextlib.suppress(OSError):
                cluster = describe_cluster(HOST, self.port)
                if self.node_id in cluster.brokers:
                    return
            if time.monotonic() > deadline:
                said = self._log_since(said_before)
                raise LocalKafkaError(f"Apache Kafka did not answer within {_START_SECONDS:.0f} s:\n{said}")
            time.sleep(0.05)
        said = self._log_since(said_before)
        if "Address already in use" in said:
            raise PortTakenError(f"a port that Apache Kafka was to listen on is taken:\n{said}")
        raise LocalKafkaError(f"Apache Kafka did not start:\n{said}")

    def _log_since(self, position: int, lines: int = 20) -> str:
        with self.log_file.open("rb") as log:
            log.seek(position)
            said = log.read().decode(errors="replace").splitlines()
        return "\n".join([*said[-lines:], f"(all of it: {self.log_file})"])

    def _signal(self, number: signal.Signals) -> None:
        # The watchdog alone waits for the broker, and ends with it: as long as it runs, the number is the
        # broker's.
        if self.running and self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, number)

    def _end(self) -> None:
        if self._process is None:
            return
        # Closing its input would end the broker too, should it still be there.
        _pipe(self._process.stdin).close()
        self._process.wait(_STOP_SECONDS)
        _pipe(self._process.stdout).close()
        self._process = None
        self._pid = 0


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
        attempts_left = _START_ATTEMPTS
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

    def wait_until_whole(self, *, timeout: float = _START_SECONDS) -> None:
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_nodes(self) -> None:
        # All at once: none of them is up before most of them are.
        with self._threads() as threads:
            list(threads.map(LocalKafka.start, self.nodes))
        self.wait_until_whole()

    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._count, thread_name_prefix="kafka")


def free_port() -> int:
    """A port on which nobody listens now, and which this process has not been given before."""
    for port in _candidates():
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind((HOST, port))
            return port
    raise LocalKafkaError("there is no free port")


def _candidates() -> Iterator[int]:
    # Unseeded, so that test runs side by side choose differently.
    chance = random.SystemRandom()
    while len(_given) < len(_PORTS):
        port = chance.choice(_PORTS)
        if port not in _given:
            _given.add(port)
            yield port


_given: set[int] = set()


def _listeners(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise AssertionError("the watchdog is always started with pipes")
    return stream
