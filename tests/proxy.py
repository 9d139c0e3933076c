"""A proxy before a broker that knows what it passes on, and can hold back one request or its answer.

It listens where the broker's second listener is advertised (``LocalKafka.proxied_port``), so that a client that
starts from it never finds a way around it. Only the beginning of each request is understood: its kind, and, for
those of a transaction, whose. Which topics a ``Produce`` writes to is found by their names in its bytes. That holds
for the versions that aiokafka 0.14 speaks (Produce below 9, the transaction's requests at 0).
"""

from __future__ import annotations

import asyncio
import enum
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from tests.secured import tls_of_a_proxy

HOST = "127.0.0.1"
PIECE_BYTES = 16_384
LARGEST_FRAME = 128 * 1024 * 1024


class Api(enum.IntEnum):
    """The requests that tests wait for, by their key in the protocol."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    OFFSET_COMMIT = 8
    JOIN_GROUP = 11
    HEARTBEAT = 12
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    END_TXN = 26


TRANSACTIONAL = {Api.PRODUCE, Api.INIT_PRODUCER_ID, Api.ADD_PARTITIONS_TO_TXN, Api.END_TXN}
"""Those that begin with a transactional id."""


@dataclass(frozen=True)
class Request:
    """A request on its way to the broker. ``frame`` is all of it without its length."""

    api: int
    correlation_id: int
    transactional_id: str | None
    client_id: str
    frame: bytes

    @classmethod
    def parse(cls, frame: bytes) -> Self:
        api, _version, correlation_id, client_id_length = struct.unpack_from(">hhih", frame)
        client_id = frame[10 : 10 + max(client_id_length, 0)].decode()
        transactional_id = None
        if api in TRANSACTIONAL:
            start = 10 + max(client_id_length, 0)
            (length,) = struct.unpack_from(">h", frame, start)
            transactional_id = frame[start + 2 : start + 2 + length].decode() if length >= 0 else None
        return cls(api, correlation_id, transactional_id, client_id, frame)

    def names(self, topic: str) -> bool:
        """Whether the topic's name, with its length before it, is in the request."""
        return struct.pack(">h", len(topic)) + topic.encode() in self.frame

    def __repr__(self) -> str:
        return f"<request {self.api} of {self.transactional_id}, {len(self.frame)} bytes>"


Wanted = Callable[[Request], bool]
"""Whether this is the request that a trap is for. Asked for each request of the broker's clients, in order."""


def request(api: Api, *, naming: str = "", of: str = "") -> Wanted:
    """The next request of this kind that names the topic and is of this client."""

    def wanted(seen: Request) -> bool:
        return seen.api == api and (not naming or seen.names(naming)) and of in {"", seen.client_id}

    return wanted


def commit_after_records_to(topic: str, *words: bytes, skip: int = 0) -> Wanted:
    """The end of a transaction that has sent records to the topic, after ``skip`` of such.

    With words only such as has sent all of them at once, which is seen where nothing is compressed.
    """
    sending: set[str | None] = set()
    skipped = 0

    def wanted(seen: Request) -> bool:
        nonlocal skipped
        if seen.api == Api.PRODUCE and seen.names(topic) and all(word in seen.frame for word in words):
            sending.add(seen.transactional_id)
        if seen.api != Api.END_TXN or seen.transactional_id not in sending:
            return False
        sending.discard(seen.transactional_id)
        skipped += 1
        return skipped > skip

    return wanted


def commit_after_tombstones_to(topic: str) -> Wanted:
    """The end of a transaction that has sent tombstones of exports to the topic."""
    return commit_after_records_to(topic, b"/gone/")


class Trap:
    """Catches one request, and holds back either it or its answer until ``release``."""

    def __init__(self, wanted: Wanted, *, answer: bool) -> None:
        self.answer = answer
        self.caught: Request | None = None
        self.client_port = 0
        """Where the request came from: tells whose it is, where there are several clients."""
        self._wanted = wanted
        self._held = asyncio.Event()
        self._released = asyncio.Event()
        self._lost = False

    @property
    def spent(self) -> bool:
        """Whether it will catch nothing any more."""
        return self.caught is not None or self._released.is_set()

    def catches(self, seen: Request, client_port: int) -> bool:
        if self.spent or not self._wanted(seen):
            return False
        self.caught, self.client_port = seen, client_port
        return True

    async def hold(self) -> None:
        self._held.set()
        await self._released.wait()
        if self._lost:
            raise ConnectionAbortedError("what was held back is lost with its connection")

    async def held(self, within: float = 60.0) -> Request:
        """The request, once it (or its answer) is being held back."""
        try:
            async with asyncio.timeout(within):
                await self._held.wait()
        except TimeoutError:
            caught = self.caught or "no such request came"
            raise AssertionError(f"nothing was held by the proxy within {within:g} s: {caught}") from None
        assert self.caught is not None
        return self.caught

    def release(self) -> None:
        """Let it go on; a trap that has caught nothing yet will catch nothing any more."""
        self._released.set()

    def lose(self) -> None:
        """Let it never arrive: its connection ends, and no other."""
        self._lost = True
        self._released.set()


class Proxy:
    """Passes everything on between ``port`` and ``broker_port``, as long as its context lasts."""

    def __init__(self, port: int, broker_port: int, *, bytes_per_second: float | None = None) -> None:
        """``bytes_per_second`` is what the broker takes, of all its clients together."""
        self.port = port
        self.passed: Counter[int] = Counter()
        """How many requests of each kind have been passed on."""
        self._broker_port = broker_port
        self._bytes_per_second = bytes_per_second
        self._taking = asyncio.Lock()
        self._traps: list[Trap] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        # It reads along, so of a secured connection it is the end on both sides.
        self._towards_clients, self._towards_broker = tls_of_a_proxy()

    def hold(self, wanted: Wanted) -> Trap:
        """Hold back the next such request."""
        return self.arm(Trap(wanted, answer=False))

    def hold_answer(self, wanted: Wanted) -> Trap:
        """Pass the next such request on, and hold back what the broker answers."""
        return self.arm(Trap(wanted, answer=True))

    def arm(self, trap: Trap) -> Trap:
        """Let a trap look at what passes. Before several brokers one trap may stand at each of their proxies."""
        self._traps = [earlier for earlier in self._traps if not earlier.spent]
        self._traps.append(trap)
        return trap

    async def drop(self) -> None:
        """Cut all connections, forget what was held back in them, and every trap."""
        self._traps.clear()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, self.port, ssl=self._towards_clients)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self.drop()
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Now: a connection over TLS that is lost forgets whose it was.
        port = int(writer.get_extra_info("peername")[1])
        connection = asyncio.create_task(self._serve(reader, writer, port))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        # Here, because a task that is cancelled before its first step never gets to closing anything.
        connection.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter, port: int) -> None:
        try:
            broker, to_broker = await asyncio.open_connection(HOST, self._broker_port, ssl=self._towards_broker)
        except OSError:
            return
        answers: dict[int, Trap] = {}
        ways = {
            asyncio.create_task(self._pass_requests(client, to_broker, answers, port)),
            asyncio.create_task(self._pass_answers(broker, to_client, answers)),
        }
        try:
            # Whichever side leaves first, the other one is told by the end of its connection.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Nothing is awaited before all is closed: a cancellation may come here too.
            for writer in (to_client, to_broker):
                writer.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, to_client.wait_closed(), to_broker.wait_closed(), return_exceptions=True)

    async def _pass_requests(
        self, client: asyncio.StreamReader, broker: asyncio.StreamWriter, answers: dict[int, Trap], client_port: int
    ) -> None:
        while True:
            frame = await _frame(client)
            seen = Request.parse(frame)
            # Each trap looks at each request: some have to remember what they saw.
            for trap in [trap for trap in self._traps if trap.catches(seen, client_port)]:
                if trap.answer:
                    answers[seen.correlation_id] = trap
                else:
                    await trap.hold()
            await self._take_in(len(frame))
            await _send(broker, frame)
            self.passed[seen.api] += 1

    async def _take_in(self, size: int) -> None:
        """As slowly as the broker is to be, in small pieces: short requests get through between long ones."""
        while size > 0 and self._bytes_per_second is not None:
            piece = min(size, PIECE_BYTES)
            size -= piece
            async with self._taking:
                await asyncio.sleep(piece / self._bytes_per_second)

    async def _pass_answers(
        self, broker: asyncio.StreamReader, client: asyncio.StreamWriter, answers: dict[int, Trap]
    ) -> None:
        while True:
            frame = await _frame(broker)
            (correlation_id,) = struct.unpack_from(">i", frame)
            if trap := answers.pop(correlation_id, None):
                await trap.hold()
            await _send(client, frame)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    assert 0 < length < LARGEST_FRAME, length
    return await reader.readexactly(length)


async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(struct.pack(">i", len(frame)) + frame)
    await writer.drain()
