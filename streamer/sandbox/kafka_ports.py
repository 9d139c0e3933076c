"""Ports for local brokers, and for whatever else is to keep its port from one start to the next."""

import contextlib
import random
import socket
import sys
from collections.abc import Iterator

from streamer.sandbox.kafka_jars import LocalKafkaError

HOST = "127.0.0.1"

# Below the range that Linux, macOS and Windows take the ports of outgoing connections from. A client that
# keeps trying to reach a killed broker would otherwise, now and then, be given the broker's own port, connect
# to itself, and keep the broker from coming back.
_PORTS = range(15_000, 32_000)

_given: set[int] = set()


class PortTakenError(LocalKafkaError):
    """Between choosing a port and listening on it, somebody else took it."""


def free_port() -> int:
    """A port on which nobody listens now, and which this process has not been given before.

    On Linux no other process is given it either as long as this one lives; elsewhere one that is quick may take it.
    """
    for port in _candidates():
        with contextlib.suppress(OSError), socket.socket() as bound:
            bound.bind((HOST, port))
            _keep(bound)
            return port
    raise LocalKafkaError("there is no free port")


def _keep(bound: socket.socket) -> None:
    # Linux lets a socket listen beside one that is merely bound, if both allow the address to be used again, as servers
    # do. So this one stays open to the end of the process: whoever looks for a free port sees that it isn't.
    # On other systems it would keep the server away.
    if sys.platform == "linux":
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.detach()


def _candidates() -> Iterator[int]:
    # Unseeded, so that test runs side by side choose differently.
    chance = random.SystemRandom()
    while len(_given) < len(_PORTS):
        port = chance.choice(_PORTS)
        if port not in _given:
            _given.add(port)
            yield port
