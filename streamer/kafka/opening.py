"""Opens aiokafka's connections our way; a seam to its private parts.

Three things it leaves to be wished for: clients live as long as the daemon, and would log in with the password that
they were made with; why a connection failed is told to its log alone; and a start that is cancelled forgets its first
connection. And what is written to a connection goes out in slices (``sliced_writing.py``).
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import aiokafka.client
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError

from streamer.kafka.login import PresentPassword
from streamer.kafka.sliced_writing import SlicedWriter

_create_conn = aiokafka.client.create_conn
_bootstrap = AIOKafkaClient.bootstrap
_opened: ContextVar[list[AIOKafkaConnection] | None] = ContextVar("opened", default=None)
_last_failure: BaseException | None = None


def open_connections_our_way() -> None:
    """Have all aiokafka clients of this process open theirs so. Harmless when called again."""
    aiokafka.client.create_conn = _create_conn_our_way
    AIOKafkaClient.bootstrap = _bootstrap_our_way


def last_failure() -> BaseException | None:
    """Why the last connection to a broker failed; None where it didn't."""
    return _last_failure


async def _bootstrap_our_way(client: AIOKafkaClient) -> None:
    """A bootstrap that is cancelled forgets its connection, and leaves it to be found unclosed some day."""
    opened: list[AIOKafkaConnection] = []
    token = _opened.set(opened)
    try:
        await _bootstrap(client)
    except asyncio.CancelledError:
        for connection in opened:
            connection.close()
        raise
    finally:
        # What a bootstrap has started inherits the list.
        opened.clear()
        _opened.reset(token)


async def _create_conn_our_way(*address: Any, **options: Any) -> Any:
    global _last_failure
    password = options.get("sasl_plain_password")
    if isinstance(password, PresentPassword):
        options["sasl_plain_password"] = password.present()
    try:
        connection = await _create_conn(*address, **options)
    except (OSError, KafkaError) as error:
        _last_failure = error
        raise
    _last_failure = None
    # None where it was closed before anybody could write.
    if connection._writer is not None:
        connection._writer = SlicedWriter(connection._writer)
    # All others tell their client when they are closed.
    if "on_close" not in options and (opened := _opened.get()) is not None:
        opened.append(connection)
    return connection
