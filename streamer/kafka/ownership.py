"""Who works on which shard: a consumer group whose members are assigned the checkpoint topic's partitions.

Nothing is ever read through this consumer. It only takes part in the group, and its offset commits are the *proof*
of ownership: the coordinator checks member and generation, while the client's own ``assignment()`` still lists
everything long after the member was thrown out (measured).

aiokafka's rebalances are eager: each revokes everything from everybody first. So revoking alone ends nothing here;
``assignment`` turns None until the new one is known, and whoever looks at it decides what that means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from streamer.config import Config
from streamer.errors import KafkaUnavailableError, NotOwnerError
from streamer.kafka.assignor import assignor_for
from streamer.kafka.connection import (
    START_SECONDS,
    STOP_SECONDS,
    answered_within,
    client_options,
    describe,
    stopped_within,
)
from streamer.model import Shard

log = structlog.get_logger()

_HEARTBEAT_SECONDS = 1.0
_IDLE_POLL_MS = 1000


class Ownership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Membership in the group. ``assignment`` holds the shards, or None while there is none (joining, rebalancing)."""

    def __init__(self, config: Config, *, busy: Collection[Shard] = (), monotonic: Callable[[], float]) -> None:
        """``busy`` are the shards that have streams."""
        self._topic = config.topics.checkpoints
        self._monotonic = monotonic
        session_seconds = config.kafka.session_timeout.total_seconds()
        self._proof_seconds = session_seconds
        self._consumer = AIOKafkaConsumer(
            **client_options(config.kafka),
            group_id=config.topics.group,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            partition_assignment_strategy=[assignor_for(config.topics.checkpoints, busy)],
            session_timeout_ms=int(session_seconds * 1000),
            heartbeat_interval_ms=int(min(_HEARTBEAT_SECONDS, session_seconds / 4) * 1000),
            rebalance_timeout_ms=int(session_seconds * 1000),
        )
        self.assignment: frozenset[Shard] | None = None
        self.unassigned_since: float = monotonic()
        """When the assignment was last revoked, on the monotonic clock."""
        self.heard_at: float | None = None
        """When the coordinator last confirmed something, on the monotonic clock."""
        self.changed = asyncio.Event()
        """Set at each change of ``assignment``; whoever waits on it clears it."""

    async def start(self) -> None:
        """Join the group. Raises ``KafkaUnavailableError``."""
        async with answered_within(START_SECONDS, "joining the consumer group"):
            await self._consumer.start()
            self._consumer.subscribe([self._topic], listener=self)

    async def run(self) -> None:
        """Stay in the group, for ever: a member that does not poll is thrown out (``max.poll.interval.ms``)."""
        while True:
            try:
                await self._consumer.getmany(timeout_ms=_IDLE_POLL_MS)
            except KafkaError as error:
                log.warning("group_poll_failed", reason=describe(error))
                await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def stop(self) -> None:
        """Leave the group, within 10 s, so that others take over without waiting for the session to time out."""
        self.assignment = None
        if problem := await stopped_within(STOP_SECONDS, self._consumer.stop()):
            log.warning("group_left_uncleanly", reason=problem)

    async def prove(self, shard: Shard) -> None:
        """Have the coordinator confirm that this member owns ``shard`` in the present generation.

        Raises ``NotOwnerError`` where it does not, and ``KafkaUnavailableError`` where it does not answer.
        """
        if self.assignment is None:
            # Until everybody has joined again, the coordinator accepts the generation that is over (measured);
            # nothing new is begun on the strength of that.
            raise NotOwnerError(f"the group is being rebalanced, shard {shard} has no owner for now")
        partition = TopicPartition(self._topic, shard)
        try:
            async with answered_within(self._proof_seconds, "proving the ownership of a shard"):
                await self._consumer.commit({partition: OffsetAndMetadata(0, "")})
        except KafkaUnavailableError as error:
            if isinstance(error.__cause__, CommitFailedError | IllegalStateError):
                raise NotOwnerError(f"the group does not confirm the ownership of shard {shard}") from error
            raise
        self.heard_at = self._monotonic()

    async def hear(self) -> None:
        """Have any answer of the coordinator, also without a shard. Raises ``KafkaUnavailableError``."""
        async with answered_within(self._proof_seconds, "asking the group coordinator"):
            await self._consumer.committed(TopicPartition(self._topic, 0))
        self.heard_at = self._monotonic()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by aiokafka as a rebalance begins; also, with nothing, before the first assignment."""
        log.info("shards_revoked", shards=sorted(partition.partition for partition in revoked))
        self.assignment = None
        self.unassigned_since = self._monotonic()
        self.changed.set()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka with the new assignment. No heartbeats run meanwhile, so this only takes note."""
        partitions = list(assigned)
        self._consumer.pause(*partitions)
        self.assignment = frozenset(Shard(partition.partition) for partition in partitions)
        self.heard_at = self._monotonic()
        log.info("shards_assigned", shards=sorted(self.assignment))
        self.changed.set()
