"""How to reach the brokers: one set of client options, the deadlines, and how aiokafka's errors become ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiokafka.errors import KafkaConnectionError, KafkaError

from streamer.config import KafkaConfig
from streamer.errors import KafkaUnavailableError
from streamer.kafka.login import login_options
from streamer.kafka.opening import last_failure, open_connections_our_way
from streamer.kafka.tls import tls_context

log = structlog.get_logger()

START_SECONDS = 60.0
"""Longest wait for a client to start: `start()` on a broker that hangs never returns by itself (measured)."""

CALL_SECONDS = 30.0
"""Longest wait for the answer to one question: metadata, offsets, configs."""

STOP_SECONDS = 10.0
"""Longest wait for an abort or a stop; both flush first, and hang as long as the broker does (measured)."""


def client_options(config: KafkaConfig) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client of this process takes."""
    open_connections_our_way()
    options: dict[str, Any] = {
        "bootstrap_servers": list(config.bootstrap_servers),
        "client_id": config.client_id,
        "security_protocol": config.security_protocol,
        # Shorter than the default of 100 ms: a new coordinator or leader is found that much sooner.
        "retry_backoff_ms": 50,
    }
    if config.security_protocol.startswith("SASL"):
        options |= login_options(config)
    if config.security_protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(config)
    return options


def reader_options(config: KafkaConfig) -> dict[str, Any]:
    """The same for a consumer without a group, which sees what is committed, from the first record that is kept."""
    return {
        **client_options(config),
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
    }


@asynccontextmanager
async def answered_within(seconds: float, what: str) -> AsyncIterator[None]:
    """A deadline around calls to Kafka. Raises ``KafkaUnavailableError`` when it passes and for aiokafka's errors."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise KafkaUnavailableError(f"no answer from Kafka within {seconds:g} s: {what}") from error
    except KafkaError as error:
        raise KafkaUnavailableError(f"Kafka refused or failed: {what}: {describe(error)}") from error


async def stopped_within(seconds: float, stopping: Coroutine[Any, Any, None]) -> str | None:
    """Wait for a consumer to stop; what went wrong in a few words, None where nothing did.

    In a task of its own: ``stop`` cancels the fetches under way and awaits them, and so, while a broker is away, raises
    their ``CancelledError``, which would otherwise be taken for the end of whoever waits here.
    """
    task = asyncio.create_task(stopping)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        return f"not stopped within {seconds:g} s"
    if task.cancelled():
        return "a request under way was cut off"
    error = task.exception()
    if error is not None and not isinstance(error, KafkaError | TimeoutError):
        raise error
    return describe(error) if error else None


def tolerate_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    """Have asyncio not complain of errors of aiokafka that nobody asks for.

    It keeps several copies of an error: one that fails a batch is in the delivery, which is always looked at, in the
    batch's place in the queue and in the transaction; one that fails a commit of offsets is also in a task of its own.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, KafkaError) and "never retrieved" in context["message"]:
            log.debug("kafka_error_left_over", reason=describe(error))
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


def describe(error: BaseException) -> str:
    """An error of aiokafka in a few words; its class where it has no text of its own."""
    text = str(error).strip() or type(error).__name__
    because = last_failure()
    if isinstance(error, KafkaConnectionError) and because is not None and because is not error:
        return f"{text}: {because or type(because).__name__}"
    return text
