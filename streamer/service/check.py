"""What is in order and what isn't, a finding each, with what to do. Changes nothing and asks for no export."""

from __future__ import annotations

import enum
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import msgspec

from streamer.config import CHECKPOINT_SHARDS, Config, ConnectionConfig
from streamer.errors import AccessRefusedError, FatalError, RetriableError, RightsMissingError
from streamer.kafka.cluster import broker_release, replicas_at_work
from streamer.kafka.kernel_blocks import HAS_KERNEL
from streamer.kafka.rights import missing_rights, prove_idempotence
from streamer.kafka.topics import Topic, TopicAdmin, differences
from streamer.model import ExportId
from streamer.service.clock import Clock
from streamer.service.streams import Connections
from streamer.topic_specs import TopicSpec, topic_specs

_CLOCK_TOLERANCE = timedelta(seconds=60)


class Verdict(enum.StrEnum):
    """How much a finding matters: ``warn`` keeps the daemon from nothing, ``FAIL`` keeps it from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


class Finding(msgspec.Struct, frozen=True):
    """What was looked at, what was found, and, where there is anything to be done, what."""

    verdict: Verdict
    what: str
    result: str
    to_do: str = ""


async def findings(config: Config) -> AsyncIterator[Finding]:
    """All of them, as they are found: settings, Kafka, the topics, delivery, the group, Mews, the clock."""
    streams = config.streams()
    yield Finding(Verdict.OK, "settings", f"{len(config.connections)} connection(s), {len(streams)} streams")
    yield gathering(config, has_kernel=HAS_KERNEL)
    async for finding in _kafka(config):
        yield finding
    clock = Clock()
    async with Connections(clock) as connections:
        told_of_the_clock = False
        for connection in config.connections:
            async for finding in _mews(connection, connections, clock):
                # One clock is behind all connections, and one line about it is enough where all is well.
                if finding.what == "clock" and finding.verdict is Verdict.OK:
                    if told_of_the_clock:
                        continue
                    told_of_the_clock = True
                yield finding


def gathering(config: Config, *, has_kernel: bool) -> Finding:
    """How lines become records: in machine code or in Python, which differ in CPU time alone."""
    what = "kernel"
    if config.exports.kernel == "off":
        return Finding(Verdict.OK, what, "off; lines are gathered in Python")
    if not has_kernel:
        return Finding(Verdict.OK, what, "not installed; lines are gathered in Python, for more CPU time")
    if config.exports.validate != "off" or config.entity:
        return Finding(
            Verdict.OK, what, "installed; lines to be validated or changed are gathered in Python all the same"
        )
    return Finding(Verdict.OK, what, "in use")


async def _kafka(config: Config) -> AsyncIterator[Finding]:
    what = f"kafka {', '.join(config.kafka.bootstrap_servers)}"
    try:
        admin = await TopicAdmin.connect(config)
    except RetriableError as error:
        to_do = "check kafka.bootstrap_servers and that a broker runs"
        yield Finding(Verdict.FAIL, what, str(error), to_do)
        return
    try:
        specs = topic_specs(config)
        topics = await admin.describe(spec.name for spec in specs)
        release = await broker_release(config)
    except RightsMissingError as error:
        for right in error.rights:
            yield _lacking(right)
        return
    except RetriableError as error:
        yield Finding(Verdict.FAIL, what, str(error), "check that the brokers are well")
        return
    finally:
        await admin.close()
    if release:
        yield Finding(Verdict.OK, what, f"reachable; Apache Kafka {release} or newer")
    else:
        yield Finding(Verdict.WARN, what, "reachable; older than Apache Kafka 2.5", "upgrade the brokers")
    for finding in _topics(config, specs, topics):
        yield finding
    rights = [finding async for finding in _rights(config, specs, topics)]
    for finding in rights:
        yield finding
    if all(finding.verdict is Verdict.OK for finding in rights):
        yield await _group(config)


def _topics(config: Config, specs: tuple[TopicSpec, ...], topics: Mapping[str, Topic]) -> list[Finding]:
    found = []
    for spec in specs:
        what, topic = f"topic {spec.name}", topics.get(spec.name)
        if topic is None and config.topics.create:
            found.append(Finding(Verdict.OK, what, "missing", "the daemon will create it"))
        elif topic is None and spec.name == config.topics.signals:
            found.append(Finding(Verdict.WARN, what, "missing", "create it if `streamer signal` is to be heard"))
        elif topic is None:
            found.append(Finding(Verdict.FAIL, what, "missing", "create it, or set topics.create = true"))
        elif spec.name == config.topics.checkpoints and topic.partitions != CHECKPOINT_SHARDS:
            to_do = f"delete it where nothing was published yet; else make it anew with {CHECKPOINT_SHARDS} partitions"
            found.append(Finding(Verdict.FAIL, what, "; ".join(differences(spec, topic)), to_do))
        elif differs := differences(spec, topic):
            to_do = "change the topic if that is not on purpose; streamer never alters topics"
            found.append(Finding(Verdict.WARN, what, "; ".join(differs), to_do))
        else:
            found.append(Finding(Verdict.OK, what, "as wanted"))
    return found


async def _rights(config: Config, specs: tuple[TopicSpec, ...], topics: Mapping[str, Topic]) -> AsyncIterator[Finding]:
    """Delivery as configured, and each right that is missing for it."""
    once = config.kafka.delivery == "exactly_once"
    what = "transactions" if once else "delivery"
    try:
        if not once:
            await prove_idempotence(config)
        missing = await missing_rights(config, specs, topics)
    except (RetriableError, FatalError) as error:
        to_do = "brokers from 2.5 on" if once else "brokers from 2.1 on, and the right to write to a topic"
        yield Finding(Verdict.FAIL, what, str(error), to_do)
        return
    if missing:
        for right in missing:
            yield _lacking(right)
        return
    if once:
        yield Finding(Verdict.OK, what, "the brokers take them")
    else:
        result = "at least once: the brokers take idempotent producers, transactions are not used"
        yield Finding(Verdict.OK, what, result)
    yield Finding(Verdict.OK, "rights", "all that is needed is there")


def _lacking(right: str) -> Finding:
    return Finding(Verdict.FAIL, "rights", f"missing: {right}", "grant it: docs/operations.md, Rights")


async def _group(config: Config) -> Finding:
    what = f"group {config.topics.group}"
    try:
        members = await replicas_at_work(config)
    except RetriableError as error:
        return Finding(Verdict.FAIL, what, str(error), "give this user the rights to read and describe the group")
    return Finding(Verdict.OK, what, f"{members} replica(s) at work")


async def _mews(connection: ConnectionConfig, connections: Connections, clock: Clock) -> AsyncIterator[Finding]:
    what = f"mews {connection.name} ({connection.platform_url})"
    api = connections.api(connection)
    try:
        # An id that nobody has: answers as soon as address and tokens are good, and asks for nothing.
        await api.get_all([ExportId(str(uuid.uuid4()))])
    except AccessRefusedError as error:
        to_do = "check platform_url, tokens, and that exports are enabled for them"
        yield Finding(Verdict.FAIL, what, str(error), to_do)
    except RetriableError as error:
        yield Finding(Verdict.FAIL, what, str(error), "check platform_url and the way to it")
    else:
        yield Finding(Verdict.OK, what, "reachable, tokens accepted")
    server_now = api.server_now
    if server_now is not None:
        ahead = clock.now() - server_now
        result = f"{ahead.total_seconds():+.1f} s against {connection.name}"
        if abs(ahead) <= _CLOCK_TOLERANCE:
            yield Finding(Verdict.OK, "clock", result)
        else:
            to_do = "set the clock of this machine (windows are cut by Mews' clock, not by this one)"
            yield Finding(Verdict.FAIL, "clock", result, to_do)
