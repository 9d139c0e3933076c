"""Builds the streams of a replica from its settings, each connection with its own limit, polls and sessions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from urllib.parse import urlsplit

import msgspec

from streamer import __version__
from streamer.config import Config, ConnectionConfig
from streamer.core.backoff import BackoffPolicy
from streamer.core.blocks import BlockLimits
from streamer.core.differences import Budget
from streamer.core.erasing import Erasure
from streamer.core.heeding import Remains
from streamer.core.schedule import Cadence
from streamer.core.windows import LedgerWindows, UpdateWindows
from streamer.kafka.decoding import Source
from streamer.kafka.reading_back import TopicReader
from streamer.kafka.scanning import TopicScanner
from streamer.kafka.topics import Topic, partitions_of
from streamer.metrics import Metrics
from streamer.mews.api import MewsApi
from streamer.mews.client import api_session, file_session
from streamer.mews.downloads import Downloads
from streamer.mews.limits import RequestLimit
from streamer.mews.polling import ExportPolls
from streamer.model import EntityType, StreamKey
from streamer.service.asking import INTENT_SECONDS, AskSettings
from streamer.service.clock import Clock
from streamer.service.erasing import Erasing
from streamer.service.gathering import GatherSettings
from streamer.service.preparing import line_rules
from streamer.service.progress import Inbox
from streamer.service.publishing import ExportPublisher, PublishSettings
from streamer.service.reading import FileReader
from streamer.service.reconciling import Reconciler, ReconcileSettings
from streamer.service.replaying import Replaying, ReplaySettings
from streamer.service.retiring import Retirement
from streamer.service.stream import Stream
from streamer.service.unconfigured import Leavings

CLIENT = f"streamer {__version__}"
"""How this program names itself to Mews (guidelines/authentication)."""

SHARED_TYPES = frozenset({EntityType.CUSTOMER, EntityType.COMPANY})
"""Profiles of a chain: several connections may reach the same ones."""

_DOWNLOAD_AGAIN = BackoffPolicy(base=0.5, ceiling=60.0)
_RECORD_OVERHEAD = 1024
"""Bytes of a batch that may be neither line nor key nor header: its frame, and a record's lengths."""


class Connections:
    """The HTTP side of a replica: opened once, closed with it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Connections:
        await self._open.__aenter__()
        self._api_session = await self._open.enter_async_context(api_session(__version__))
        self._file_session = await self._open.enter_async_context(file_session(__version__))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def api(self, connection: ConnectionConfig) -> MewsApi:
        """The API with the connection's tokens; all calls of a token have to go through the same one."""
        clock = self._clock
        return MewsApi(
            session=self._api_session,
            connection=connection.name,
            platform_url=connection.platform_url,
            client_token=connection.client_token,
            access_token=connection.access_token,
            client=CLIENT,
            limit=RequestLimit(clock=clock.monotonic, sleep=asyncio.sleep, random=clock.dice),
            clock=clock.monotonic,
        )

    def polls(self, api: MewsApi) -> ExportPolls:
        """Where a connection's streams ask for their exports together."""
        polls = ExportPolls(api, sleep=asyncio.sleep)
        self._open.push_async_callback(polls.close)
        return polls

    def downloads(self, connection: ConnectionConfig) -> Downloads:
        """Where the connection's files are read; over plain HTTP only for a platform that is reached so."""
        allow_http = urlsplit(connection.platform_url).scheme == "http"
        return Downloads(self._file_session, clock=self._clock.monotonic, allow_http=allow_http)


def build_streams(
    config: Config,
    *,
    connections: Connections,
    topics: Mapping[str, Topic],
    budget: Budget,
    clock: Clock,
    metrics: Metrics,
    inbox_of: Callable[[StreamKey], Inbox],
    once: bool,
) -> dict[StreamKey, Stream]:
    """All streams of the settings, by key; they share the process' places for active downloads."""
    slots = asyncio.Semaphore(config.exports.max_active)
    streams: dict[StreamKey, Stream] = {}
    for connection in config.connections:
        api = connections.api(connection)
        polls = connections.polls(api)
        downloads = connections.downloads(connection)
        for entity_type in connection.entity_types:
            key = StreamKey(connection.name, entity_type)
            stream_metrics = metrics.stream(key)
            reader = FileReader(
                links=polls,
                files=downloads,
                clock=clock.monotonic,
                sleep=clock.rest,
                random=clock.dice,
                backoff=_DOWNLOAD_AGAIN,
                size_mismatch=config.exports.size_mismatch,
                count_retry=stream_metrics.retried,
            )
            reconciler = Reconciler(
                key,
                open_reader=partial(topic_reader, config),
                settings=reconcile_settings(config, key),
                budget=budget,
                clock=clock,
            )
            rules = line_rules(config, entity_type)
            publisher = ExportPublisher(
                key,
                links=polls,
                reader=reader,
                reconciler=reconciler,
                settings=publish_settings(config, topics, key),
                slots=slots,
                clock=clock,
                metrics=stream_metrics,
                rules=rules,
            )
            streams[key] = Stream(
                key,
                exports=api,
                polls=polls,
                publisher=publisher,
                settings=ask_settings(config, connection, key, once=once),
                clock=clock,
                metrics=stream_metrics,
                inbox=inbox_of(key),
                replaying=Replaying(
                    key,
                    open_scanner=lambda: TopicScanner(config),
                    settings=replay_settings(config, topics, key),
                    rules=rules,
                    metrics=stream_metrics,
                ),
                erasing=erasing_of(config, topics, key, rules.erasure),
                once=once,
            )
    return streams


def publish_settings(config: Config, topics: Mapping[str, Topic], key: StreamKey) -> PublishSettings:
    """The numbers for one stream's publishing; what its topics allow is read from them."""
    exports, topic = config.exports, topics[config.topics.entity_topic(key)]
    return PublishSettings(
        gather=GatherSettings(
            block=BlockLimits(exports.transaction_bytes, exports.transaction_seconds),
            max_line_bytes=exports.max_line_bytes,
            max_record_bytes=topic.max_message_bytes,
            max_dead_letters=exports.max_dead_letters,
            headers=config.topics.headers == "cloudevents",
            kernel=exports.kernel == "auto",
        ),
        max_dead_letter_bytes=max(0, topics[config.topics.dead_letters].max_message_bytes - _RECORD_OVERHEAD),
        topic=topic.name,
        topic_partitions=topic.partitions,
    )


def replay_settings(config: Config, topics: Mapping[str, Topic], key: StreamKey) -> ReplaySettings:
    """Where one stream's dead letters are, and what its topic takes of them."""
    letters, topic = topics[config.topics.dead_letters], topics[config.topics.entity_topic(key)]
    return ReplaySettings(
        letters=letters.name,
        letters_partitions=letters.partitions,
        topic=topic.name,
        topic_partitions=topic.partitions,
        max_line_bytes=config.exports.max_line_bytes,
        max_record_bytes=topic.max_message_bytes,
        headers=config.topics.headers == "cloudevents",
    )


def erasing_of(config: Config, topics: Mapping[str, Topic], key: StreamKey, erasure: Erasure | None) -> Erasing:
    """Where one stream's tombstones go."""
    topic = topics[config.topics.entity_topic(key)]
    return Erasing(
        key,
        topic=topic.name,
        topic_partitions=topic.partitions,
        headers=config.topics.headers == "cloudevents",
        erasure=erasure,
    )


def reconcile_settings(config: Config, key: StreamKey) -> ReconcileSettings:
    """How one stream's snapshots are compared with its topic.

    Without headers nobody can tell whose a record is. Where a topic is one connection's alone, all of it is that
    connection's; where it is shared, nothing is compared.
    """
    topic, headers = config.topics.entity_topic(key), config.topics.headers == "cloudevents"
    is_shared = any(config.topics.entity_topic(other) == topic for other in config.streams() if other != key)
    return ReconcileSettings(
        enabled=config.exports.reconcile and (headers or not is_shared),
        topic=topic,
        source=Source(key.source.encode(), or_none=not headers and not is_shared),
        headers=headers,
        max_tombstone_share=config.exports.max_tombstone_share,
        shared_keys=config.exports.shared_keys and key.entity_type in SHARED_TYPES,
        shared_topic=is_shared,
        at_least_once=config.kafka.delivery == "at_least_once",
    )


def remains_of(config: Config, key: StreamKey) -> Remains:
    """What a stream that ``config`` doesn't have has left, by its settings for all the others."""
    topic, headers = config.topics.entity_topic(key), config.topics.headers == "cloudevents"
    is_shared = any(config.topics.entity_topic(other) == topic for other in config.streams())
    return Remains(
        topic=topic,
        # Records may have been there before any settings that are known here.
        shared_keys=config.exports.shared_keys and key.entity_type in SHARED_TYPES and not config.topics.is_apart,
        tellable=headers or not is_shared,
    )


def topic_reader(config: Config) -> TopicReader:
    """What reads topics back, by the kernel or without it."""
    return TopicReader(config.kafka, kernel=config.exports.kernel == "auto")


def retirement_of(config: Config, key: StreamKey, topic: str, *, budget: Budget, clock: Clock) -> Retirement:
    """Where a stream that ``config`` doesn't have gets its tombstones, for what it has in this topic."""
    settings = reconcile_settings(config, key)
    source = msgspec.structs.replace(settings.source, gives_way=True)
    reconciler = Reconciler(
        key,
        open_reader=partial(topic_reader, config),
        settings=msgspec.structs.replace(settings, topic=topic, source=source),
        budget=budget,
        clock=clock,
    )
    headers, block_bytes = settings.headers, config.exports.transaction_bytes
    return Retirement(key, reconciler=reconciler, headers=headers, block_bytes=block_bytes, clock=clock)


def leavings_of(config: Config, *, budget: Budget, clock: Clock) -> Leavings:
    """What is to be known of streams that ``config`` doesn't have."""
    return Leavings(
        configured=frozenset(config.streams()),
        remains=lambda stream: remains_of(config, stream),
        retirement=lambda stream, topic: retirement_of(config, stream, topic, budget=budget, clock=clock),
        partitions=lambda topic: partitions_of(config, topic),
    )


def ask_settings(config: Config, connection: ConnectionConfig, key: StreamKey, *, once: bool) -> AskSettings:
    """What a stream asks for, and when. ``once`` makes an export due at any time."""
    exports, scope = config.exports, connection.scope.of(key.entity_type)
    is_ledger = key.entity_type is EntityType.LEDGER_ENTRY
    return AskSettings(
        cadence=Cadence(
            snapshot_interval=exports.snapshot_interval,
            windows=(
                LedgerWindows(lookback=exports.ledger_lookback)
                if is_ledger
                else UpdateWindows(overlap=exports.window_overlap, margin=exports.window_margin)
            ),
            update_interval=exports.update_interval,
            scope=scope.digest,
            always_due=once,
        ),
        scope=scope,
        poll_interval=exports.poll_interval,
        blocked_pattern=re.compile(exports.blocked_pattern),
        blocked_limit=exports.blocked_limit,
        intent_seconds=min(INTENT_SECONDS, config.kafka.session_timeout.total_seconds() / 2),
    )
