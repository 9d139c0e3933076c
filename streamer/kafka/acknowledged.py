"""The producer of one shard without transactions: the checkpoint follows the block, once all of it is acknowledged.

For ``kafka.delivery = "at_least_once"``. The order alone makes it safe: records, all acknowledged; events, all
acknowledged; the checkpoint. Whoever dies in between leaves records that no checkpoint speaks of, and the successor
sends them again under the same ``ce_id``. Nothing is ever left out.

Nothing fences here, so a replica that was overtaken can still write. What holds it back is a proof of ownership, never
older than five seconds when a block begins and renewed right before the checkpoint, and with it a look at the
checkpoints as they are by then: whoever finds a later term there steps down. A process that is frozen in the instant
after that look writes once more when it wakes; its checkpoint carries a term that is over, and
``checkpoints.prevailing`` ignores it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from streamer.config import Config
from streamer.errors import KafkaUnavailableError, NotOwnerError
from streamer.kafka.batches import RecordBatches
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.sending import Conclusion, Confirm, Message, Sending, batch_format, producer_options
from streamer.kafka.topics import Topic

PROOF_SECONDS = 5.0
"""A proof of ownership is good for so long at most: less than it takes for a frozen owner to be replaced."""

_ASK_AGAIN_SECONDS = 0.1


class AcknowledgedProducer:
    """A ``ShardProducer`` that is idempotent and nothing more.

    ``step_seconds`` is the deadline of each step, ``proof_seconds`` the age up to which a proof is good for a block.
    """

    def __init__(
        self,
        new_producer: Callable[[], AIOKafkaProducer],
        *,
        format: BatchFormat,
        partitions: Mapping[str, int],
        step_seconds: float,
        milliseconds: Callable[[], int],
        monotonic: Callable[[], float],
        confirm: Confirm,
        proof_seconds: float = PROOF_SECONDS,
    ) -> None:
        self._producer = new_producer()
        self._sending = Sending(
            self._producer, format=format, partitions=partitions, seconds=step_seconds, milliseconds=milliseconds
        )
        self._monotonic = monotonic
        self._confirm = confirm
        self._proof_seconds = proof_seconds
        self._confirmed_at: float | None = None

    async def start(self) -> None:
        """Connect. Fences nobody and settles nothing."""
        await self._sending.start("starting a producer")

    async def settle(self) -> None:
        """What somebody's transaction has left open is not for this producer to end."""

    def all_were_read_but(self, last: int) -> None:
        """Nothing of a published block is open."""

    def new_batches(self) -> RecordBatches:
        return self._sending.new_batches()

    async def publish(
        self,
        conclude: Conclusion,
        *,
        topic: str | None = None,
        batches: RecordBatches | None = None,
        messages: Sequence[Message] = (),
    ) -> None:
        """The block, then events, then the checkpoint. After an error, any first part of that may be there."""
        sending = self._sending
        async with sending.attempt():
            if batches is not None:
                await batches.prepare()
            await self._ensure_confirmed()
            async with sending.deadline("sending a block"):
                offsets = await sending.send_batches(topic, batches) if topic and batches else {}
                await sending.send_messages(messages)
            await self._confirm_now()
            *events, checkpoint = conclude(offsets)
            async with sending.deadline("sending events"):
                # Before the checkpoint: were they to follow it, a crash in between would lose them for good.
                await sending.send_messages(events)
            await self._ensure_confirmed()
            async with sending.deadline("sending a checkpoint"):
                await sending.send_messages([checkpoint])

    async def close(self) -> None:
        """Stop, within 20 s; what is still queued is dropped."""
        await self._sending.stop()

    async def _ensure_confirmed(self) -> None:
        if self._confirmed_at is None or self._monotonic() - self._confirmed_at > self._proof_seconds:
            await self._confirm_now()

    async def _confirm_now(self) -> None:
        """Ask until it is confirmed: giving up in a rebalance, which passes, would be a repeat of the block.

        Where the shard goes to another replica for good, the work on it is cancelled from outside.
        """
        async with self._sending.deadline("proving the ownership of a shard"):
            while True:
                asked_at = self._monotonic()
                try:
                    await self._confirm()
                except (NotOwnerError, KafkaUnavailableError):
                    await asyncio.sleep(_ASK_AGAIN_SECONDS)
                else:
                    self._confirmed_at = asked_at
                    return


class _DroppingProducer(AIOKafkaProducer):  # type: ignore[misc]
    """Stops without delivering what is queued or waits for another try.

    aiokafka delivers it first, or goes on trying behind one's back when that takes too long. With transactions
    the next producer fences that; here it would put old records behind those of the next producer.
    """

    _closed: bool | None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._requests: set[asyncio.Task[None]] = set()
        self._send_request = self._sender._send_produce_req
        self._sender._send_produce_req = self._send_noted

    async def _send_noted(self, node_id: int, batches: Any) -> None:
        if (request := asyncio.current_task()) is not None:
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)
        await self._send_request(node_id, batches)

    async def stop(self) -> None:
        if self._closed:
            return
        self._closed = True
        sender = self._sender.sender_task
        if sender is not None:
            # The sender, when cancelled, waits for its requests; and those that fail want to be tried again.
            for task in (sender, *self._requests):
                task.cancel()
            await asyncio.wait({sender})
        await self.client.close()


def acknowledged_producer(
    config: Config,
    topics: Mapping[str, Topic],
    *,
    milliseconds: Callable[[], int],
    monotonic: Callable[[], float],
    confirm: Confirm,
) -> AcknowledgedProducer:
    """An unstarted producer of a shard."""
    return AcknowledgedProducer(
        lambda: _DroppingProducer(**producer_options(config.kafka), enable_idempotence=True),
        format=batch_format(config, topics, transactional=False),
        partitions={name: topic.partitions for name, topic in topics.items()},
        step_seconds=config.kafka.transaction_timeout.total_seconds(),
        milliseconds=milliseconds,
        monotonic=monotonic,
        confirm=confirm,
        proof_seconds=min(PROOF_SECONDS, config.kafka.session_timeout.total_seconds() / 2),
    )
