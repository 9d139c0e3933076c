"""Asks a broker who is in its cluster: one Metadata request over a plain socket.

That a port is open says little about a broker that is still starting; that it lists itself says that it takes
part.
"""

import socket
import struct
from typing import NamedTuple

_METADATA = 3
_METADATA_VERSION = 1
_NO_TOPICS = struct.pack(">i", 0)


class Cluster(NamedTuple):
    controller: int
    """The node id, or -1 when there is none."""
    brokers: dict[int, tuple[str, int]]
    """Host and port as advertised to who asks on this listener, by node id."""


def describe_cluster(host: str, port: int, *, timeout: float = 2.0) -> Cluster:
    """Raises OSError when the broker does not answer, or not in time."""
    client_id = b"probe"
    request = struct.pack(f">hhih{len(client_id)}s", _METADATA, _METADATA_VERSION, 1, len(client_id), client_id)
    request += _NO_TOPICS
    with socket.create_connection((host, port), timeout=timeout) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _receive(connection, 4))
        return _decode(_receive(connection, size))


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionError("the broker closed the connection")
        received += chunk
    return bytes(received)


def _decode(answer: bytes) -> Cluster:
    _correlation, count = struct.unpack_from(">ii", answer)
    position = 8
    brokers: dict[int, tuple[str, int]] = {}
    for _ in range(count):
        node_id, length = struct.unpack_from(">ih", answer, position)
        position += 6
        host = answer[position : position + length].decode()
        position += length
        port, rack_length = struct.unpack_from(">ih", answer, position)
        position += 6 + max(rack_length, 0)
        brokers[node_id] = (host, port)
    (controller,) = struct.unpack_from(">i", answer, position)
    return Cluster(controller, brokers)
