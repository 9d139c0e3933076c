"""``streamer check``: what is in order and what isn't, a line each, with what to do."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import click
import msgspec

from streamer.config import Config, ConnectionConfig
from streamer.errors import AccessRefusedError, FatalError, RetriableError
from streamer.kafka.rights import prove_idempotence, prove_transactions
from streamer.kafka.topics import TopicAdmin, differences
from streamer.model import ExportId
from streamer.service.clock import Clock
from streamer.service.streams import Connections
from streamer.topic_specs import topic_specs

_CLOCK_TOLERANCE = timedelta(seconds=60)


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, what was found, and, where it isn't in order, what to do."""

    what: str
    result: str
    to_do: str = ""
    ok: bool = True

    def __str__(self) -> str:
        mark = "ok  " if self.ok else "FAIL"
        return f"{mark} {self.what}: {self.result}" + (f" -> {self.to_do}" if self.to_do else "")


async def run_check(config: Config) -> int:
    """Print the findings; 0 when nothing keeps the daemon from working, else 1. Asks for no export."""
    findings = []
    async for finding in _findings(config):
        click.echo(str(finding))
        findings.append(finding)
    return 0 if all(finding.ok for finding in findings) else 1


async def _findings(config: Config) -> AsyncIterator[Finding]:
    streams = config.streams()
    yield Finding("settings", f"{len(config.connections)} connection(s), {len(streams)} streams")
    async for finding in _kafka(config):
        yield finding
    clock = Clock()
    async with Connections(clock) as connections:
        for connection in config.connections:
            async for finding in _mews(connection, connections, clock):
                yield finding


async def _kafka(config: Config) -> AsyncIterator[Finding]:
    servers = ", ".join(config.kafka.bootstrap_servers)
    try:
        admin = await TopicAdmin.connect(config)
    except RetriableError as error:
        yield Finding(f"kafka {servers}", str(error), "check kafka.bootstrap_servers and that a broker runs", ok=False)
        return
    try:
        specs = topic_specs(config)
        topics = await admin.describe(spec.name for spec in specs)
        yield Finding(f"kafka {servers}", "reachable")
    except RetriableError as error:
        yield Finding(f"kafka {servers}", str(error), "check the rights of this user", ok=False)
        return
    finally:
        await admin.close()
    for spec in specs:
        topic = topics.get(spec.name)
        if topic is None:
            will = "the daemon will create it" if config.topics.create else "create it, or set topics.create = true"
            yield Finding(f"topic {spec.name}", "missing", will, ok=config.topics.create)
        else:
            differs = differences(spec, topic)
            to_do = "change the topic if that is not on purpose; streamer never alters topics" if differs else ""
            yield Finding(f"topic {spec.name}", "; ".join(differs) or "as wanted", to_do)
    async for finding in _delivery(config):
        yield finding


async def _delivery(config: Config) -> AsyncIterator[Finding]:
    if config.kafka.delivery == "at_least_once":
        try:
            await prove_idempotence(config)
            yield Finding("delivery", "at least once: the brokers take idempotent producers, transactions are not used")
        except (RetriableError, FatalError) as error:
            to_do = "brokers from 2.1 on, and the right to write idempotently"
            yield Finding("delivery", str(error), to_do, ok=False)
        return
    try:
        await prove_transactions(config)
        yield Finding("transactions", "the brokers take them")
    except (RetriableError, FatalError) as error:
        yield Finding("transactions", str(error), "brokers from 2.5 on, and rights on the transactional ids", ok=False)


async def _mews(connection: ConnectionConfig, connections: Connections, clock: Clock) -> AsyncIterator[Finding]:
    what = f"mews {connection.name} ({connection.platform_url})"
    api = connections.api(connection)
    try:
        # An id that nobody has: answers as soon as address and tokens are good, and asks for nothing.
        await api.get_all([ExportId(str(uuid.uuid4()))])
    except AccessRefusedError as error:
        yield Finding(what, str(error), "check platform_url, tokens, and that exports are enabled for them", ok=False)
        return
    except RetriableError as error:
        yield Finding(what, str(error), "check platform_url and the way to it", ok=False)
        return
    yield Finding(what, "reachable, tokens accepted")
    server_now = api.server_now
    if server_now is not None:
        ahead = clock.now() - server_now
        in_step = abs(ahead) <= _CLOCK_TOLERANCE
        to_do = "" if in_step else "set the clock of this machine (windows are cut by Mews' clock, not by this one)"
        yield Finding("clock", f"{ahead.total_seconds():+.1f} s against {connection.name}", to_do, ok=in_step)
