"""What is asked of the brokers by whoever only looks: which Kafka they are, and who takes part in the group."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.protocol.admin import ApiVersionRequest

from streamer.config import Config
from streamer.kafka.connection import CALL_SECONDS, answered_within, client_options

# No answer of a broker names its release, so it is told by what a release brought: the newest version of a
# request (https://kafka.apache.org/protocol), and with 4.0 the end of the oldest ones. Newest release first.
_FETCH, _INIT_PRODUCER_ID = 1, 22
_OLDEST_FETCH_OF_KAFKA_4 = 4
_FIRST_WITH_REQUEST = {88: "4.1", 80: "3.9", 75: "3.8", 74: "3.7", 66: "3.0", 61: "2.8", 50: "2.7", 48: "2.6"}

_MEMBERS = 5
"""The place of the members in a described group, in all versions of the answer."""

_TRIES, _ASK_AGAIN_SECONDS = 20, 0.25


async def broker_release(config: Config) -> str:
    """The oldest release of Apache Kafka that a broker can be, as ``4.1``; ``""`` for one before 2.5.

    Raises ``KafkaUnavailableError``.
    """
    client = AIOKafkaClient(**client_options(config.kafka))
    try:
        async with answered_within(CALL_SECONDS, "asking a broker for its version"):
            await client.bootstrap()
            answer = await client.send(client.get_random_node(), ApiVersionRequest())
    finally:
        await client.close()
    return release_of({key: (oldest, newest) for key, oldest, newest in answer.api_versions})


def release_of(versions: Mapping[int, tuple[int, int]]) -> str:
    """The release that brought these requests: oldest and newest version by the request's number."""
    oldest_fetch, _ = versions.get(_FETCH, (0, 0))
    for request, release in _FIRST_WITH_REQUEST.items():
        if release < "4" and oldest_fetch >= _OLDEST_FETCH_OF_KAFKA_4:
            return "4.0"
        if request in versions:
            return release
    _, newest_init = versions.get(_INIT_PRODUCER_ID, (0, 0))
    return "2.5" if newest_init >= 3 else ""


async def replicas_at_work(config: Config) -> int:
    """How many members the group of the daemons has. Raises ``KafkaUnavailableError``."""
    admin = AIOKafkaAdminClient(**client_options(config.kafka))
    try:
        async with answered_within(CALL_SECONDS, "asking who is in the group"):
            await admin.start()
            answers = await _described(admin, config.topics.group)
    finally:
        await admin.close()
    return sum(len(group[_MEMBERS]) for answer in answers for group in answer.groups)


async def _described(admin: AIOKafkaAdminClient, group: str) -> Sequence[Any]:
    """Brokers that never had a group first make the topic of the groups, and meanwhile say that none is there."""
    tries = 1
    while True:
        try:
            answers: Sequence[Any] = await admin.describe_consumer_groups([group])
        except GroupCoordinatorNotAvailableError:
            if tries == _TRIES:
                raise
            tries += 1
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        else:
            return answers
