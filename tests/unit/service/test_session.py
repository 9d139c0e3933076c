"""A session writes one transaction at a time, on checkpoints read after its producer's start, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
import pytest

from streamer.core.checkpoint import Checkpoint, encode_checkpoint
from streamer.core.events import Outcome
from streamer.core.inputs import Added, Due
from streamer.core.lifecycle import transition
from streamer.core.states import Idle
from streamer.errors import FencedError, KafkaUnavailableError, NotOwnerError, ProducerLostError
from streamer.kafka.checkpoints import Entry
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.producer import Message, ShardProducer, TransactionalProducer
from streamer.kafka.sending import Confirm
from streamer.metrics import Metrics
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, Shard, StreamKey
from streamer.service.session import Decision, Session
from streamer.service.taking_over import take_over
from tests.memory_kafka import Trouble, json_of
from tests.memory_readers import entry_of
from tests.unit.service.life_bench import CHECKPOINTS, DEAD, EVENTS, KEY, SHARD, TOPICS, Bench

OTHER = StreamKey(ConnectionName("other"), EntityType.COMPANY)


def deciding(checkpoint: Checkpoint) -> Decision:
    return lambda _offsets: Outcome(checkpoint)


def put(bench: Bench, key: StreamKey, checkpoint: Checkpoint) -> None:
    bench.kafka.put(CHECKPOINTS, str(key).encode(), encode_checkpoint(checkpoint))


class Steps:
    """The parts of a take-over, noting what is asked of them; the step that ``fails`` raises."""

    def __init__(self, bench: Bench, fails: int = 0, error: Exception | None = None) -> None:
        self.taken: list[str] = []
        self.entries: Mapping[str, Entry] = {}
        self.unread: list[int] = []
        """How many of its transactions the producer was told to be unread, each time."""
        self.is_slow = False
        """The first reading takes long, though nothing holds it back."""
        self.is_held_back = False
        """Something is open in the checkpoints, until it is settled."""
        self._bench = bench
        self._fails = fails
        self._error = error

    def note(self, step: str) -> None:
        self.taken.append(step)
        if self._error is not None and len(self.taken) == self._fails:
            raise self._error

    async def prove(self, shard: Shard) -> None:
        self.note("prove")

    async def read_to_end(self, shard: Shard) -> None:
        self.note("read")
        if self.is_held_back and "settle" not in self.taken:
            await asyncio.Event().wait()
        if self.is_slow and self.taken.count("read") == 1:
            await asyncio.sleep(10.0)

    async def are_held_back(self, shard: Shard) -> bool:
        return self.is_held_back

    def new_producer(self, shard: Shard, confirm: Confirm) -> ShardProducer:
        note, unread = self.note, self.unread

        class NotingProducer(TransactionalProducer):
            async def start(self) -> None:
                note("start")
                await super().start()

            async def settle(self) -> None:
                note("settle")
                await super().settle()

            def all_were_read_but(self, last: int) -> None:
                unread.append(last)
                super().all_were_read_but(last)

            async def close(self) -> None:
                note("close")
                await super().close()

        return NotingProducer(
            lambda: self._bench.kafka.producer("id"),
            format=BatchFormat(batch_bytes=1 << 20, zstd=False, transactional=True),
            partitions=self._bench.kafka.partitions,
            transaction_seconds=1.0,
            milliseconds=lambda: 0,
        )

    async def take_over(self) -> Session:
        return await take_over(
            SHARD,
            new_producer=self.new_producer,
            group=self,
            checkpoints=self,
            owner="me",
            topics=TOPICS,
            metrics=Metrics(),
            monotonic=self._bench.clock.monotonic,
        )


class TestTakingOver:
    async def test_a_shard_is_taken_over_by_proof_start_proof_and_reading_in_this_order(self) -> None:
        steps = Steps(Bench())
        await steps.take_over()
        assert steps.taken == ["prove", "start", "prove", "read"]

    async def test_what_holds_the_checkpoints_back_is_settled_and_then_they_are_read(self) -> None:
        steps = Steps(Bench())
        steps.is_held_back = True
        await steps.take_over()
        assert steps.taken == ["prove", "start", "prove", "read", "settle", "read"]

    async def test_where_reading_only_takes_long_nothing_is_settled(self) -> None:
        steps = Steps(Bench())
        steps.is_slow = True
        await steps.take_over()
        assert steps.taken == ["prove", "start", "prove", "read", "read"]

    @pytest.mark.parametrize("step", [5, 6])
    async def test_a_take_over_that_can_not_settle_leaves_no_producer_open(self, step: int) -> None:
        steps = Steps(Bench(), step, KafkaUnavailableError("away"))
        steps.is_held_back = True
        with pytest.raises(KafkaUnavailableError):
            await steps.take_over()
        assert steps.taken[-1] == "close"

    async def test_without_the_first_proof_nobody_is_fenced(self) -> None:
        steps = Steps(Bench(), 1, NotOwnerError("thrown out"))
        with pytest.raises(NotOwnerError):
            await steps.take_over()
        assert steps.taken == ["prove"]

    @pytest.mark.parametrize("step", [2, 3, 4])
    async def test_a_take_over_that_fails_later_leaves_no_producer_open(self, step: int) -> None:
        steps = Steps(Bench(), step, KafkaUnavailableError("away"))
        with pytest.raises(KafkaUnavailableError):
            await steps.take_over()
        assert steps.taken == [*["prove", "start", "prove", "read"][:step], "close"]

    async def test_it_fails_while_kafka_is_down(self) -> None:
        bench = Bench()
        bench.kafka.is_down = True
        with pytest.raises(KafkaUnavailableError):
            await bench.take(SHARD)

    async def test_it_sees_what_the_last_owner_committed_up_to_being_fenced(self) -> None:
        bench = Bench()
        first = await bench.take(SHARD, owner="first")
        committed = await first.commit(KEY, deciding(Checkpoint(cycle=7)))
        second = await bench.take(SHARD, owner="second")
        assert second.checkpoint(KEY) == committed
        with pytest.raises(FencedError):
            await first.commit(KEY, deciding(Checkpoint(cycle=8)))
        assert [c.cycle for c in bench.checkpoints] == [7]

    async def test_the_term_is_one_above_the_highest_of_the_shards_own_streams(self) -> None:
        bench = Bench()
        entries = {
            "alpine/Bill": entry_of(SHARD, encode_checkpoint(Checkpoint(term=4))),
            "alpine/Payment": entry_of(SHARD, encode_checkpoint(Checkpoint(term=9))),
            "alpine/Customer": entry_of(SHARD, b'{"v": 3, "term": 70}'),
            "alpine/Company": entry_of(SHARD + 1, encode_checkpoint(Checkpoint(term=90))),
        }
        steps = Steps(bench)
        steps.entries = entries
        session = await steps.take_over()
        assert session.term == 10
        assert session.checkpoint(OTHER) == Checkpoint()

    async def test_a_stream_without_a_checkpoint_begins_with_a_fresh_one(self) -> None:
        session = await Bench().take(SHARD)
        assert session.term == 1
        assert session.checkpoint(KEY) == Checkpoint()
        assert session.problem(KEY) == ""

    async def test_a_checkpoint_that_can_not_be_read_is_none_with_its_problem(self) -> None:
        bench = Bench()
        bench.kafka.put(CHECKPOINTS, str(KEY).encode(), b'{"v": 3}')
        session = await bench.take(SHARD)
        assert session.checkpoint(KEY) is None
        assert "version 3" in session.problem(KEY)


class TestCommitting:
    async def test_a_commit_stamps_term_and_owner_and_is_what_can_be_built_upon_next(self) -> None:
        bench = Bench()
        put(bench, KEY, Checkpoint(term=6, owner="old", cycle=2, unknown={"newer": 1}))
        session = await bench.take(SHARD, owner="new")
        found = session.checkpoint(KEY)
        assert found is not None
        committed = await session.commit(KEY, deciding(found))
        assert committed == msgspec.structs.replace(found, term=7, owner="new")
        assert session.checkpoint(KEY) is committed
        assert bench.checkpoints == [committed]
        assert session.commits == 1

    async def test_events_lie_in_the_transaction_of_their_checkpoint_with_headers(self) -> None:
        bench = Bench()
        session = await bench.take(SHARD)
        due = await session.commit(KEY, lambda _: transition(KEY, Checkpoint(), DUE, now=bench.clock.now()))
        added = Added(ExportId("e1"))
        await session.commit(KEY, lambda _: transition(KEY, due, added, now=bench.clock.now()))
        (event,) = bench.kafka.committed(EVENTS)
        assert event.key == b"alpine/Bill"
        assert dict(event.headers) == {
            "ce_specversion": b"1.0",
            "ce_id": b"e1/export_requested",
            "ce_source": b"/mews/alpine",
            "ce_type": b"streamer.export_requested",
            "content-type": b"application/json",
        }
        assert json_of(event.value)["event"] == "export_requested"

    async def test_the_producer_is_told_what_its_own_replica_has_read(self) -> None:
        steps = Steps(Bench())
        live = steps.entries = dict[str, Entry]()
        session = await steps.take_over()
        committed = [await session.commit(KEY, deciding(Checkpoint(cycle=cycle))) for cycle in range(3)]
        assert steps.unread == []
        live[str(KEY)] = entry_of(SHARD, encode_checkpoint(committed[1]))
        await session.commit(OTHER, deciding(Checkpoint()))
        assert steps.unread == [1]
        live[str(KEY)] = entry_of(SHARD, encode_checkpoint(committed[2]))
        other = await session.commit(OTHER, deciding(Checkpoint(cycle=1)))
        assert steps.unread == [1, 1]
        live[str(OTHER)] = entry_of(SHARD, encode_checkpoint(other))
        await session.commit(KEY, deciding(Checkpoint()))
        assert steps.unread == [1, 1, 0]

    async def test_streams_of_a_shard_take_turns(self) -> None:
        bench = Bench()
        bench.kafka.commit_seconds = 1.0
        session = await bench.take(SHARD)
        checkpoints = [Checkpoint(cycle=n) for n in range(5)]
        await asyncio.gather(*(session.commit(KEY, deciding(checkpoint)) for checkpoint in checkpoints))
        assert [c.cycle for c in bench.checkpoints] == [0, 1, 2, 3, 4]
        assert [round(at) for _, at in bench.commits()] == [1, 2, 3, 4, 5]

    async def test_messages_go_with_the_checkpoint_or_not_at_all(self) -> None:
        bench = Bench()
        bench.kafka.troubles = {2: Trouble.DIES_BEFORE_COMMIT}
        session = await bench.take(SHARD)
        await session.commit(KEY, deciding(Checkpoint()), messages=[Message(DEAD, b"k", b"first")])
        with pytest.raises(ProducerLostError):
            await session.commit(KEY, deciding(Checkpoint()), messages=[Message(DEAD, b"k", b"second")])
        await session.close()
        assert [r.value for r in bench.kafka.committed(DEAD)] == [b"first"]


class TestLosing:
    @pytest.mark.parametrize("trouble", Trouble, ids=lambda trouble: trouble.name.lower())
    async def test_after_any_trouble_nothing_can_be_written_any_more(self, trouble: Trouble) -> None:
        bench = Bench()
        bench.kafka.troubles = {1: trouble}
        session = await bench.take(SHARD)
        with pytest.raises(ProducerLostError):
            await session.commit(KEY, deciding(Checkpoint(cycle=1)))
        assert session.lost.is_set()
        assert isinstance(session.failure, FencedError) == (trouble is Trouble.FENCED)
        assert session.checkpoint(KEY) == Checkpoint()
        with pytest.raises(ProducerLostError, match="being taken over") as caught:
            await session.commit(KEY, deciding(Checkpoint(cycle=2)))
        assert caught.value.__cause__ is session.failure
        assert bench.kafka.transactions == 1
        assert session.commits == 0

    async def test_whoever_waits_for_a_turn_writes_nothing_after_the_one_before_has_failed(self) -> None:
        bench = Bench()
        bench.kafka.commit_seconds = 1.0
        bench.kafka.troubles = {1: Trouble.DIES_AFTER_COMMIT}
        session = await bench.take(SHARD)
        outcomes = await asyncio.gather(
            *(session.commit(KEY, deciding(Checkpoint(cycle=n))) for n in range(3)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [ProducerLostError] * 3
        assert [c.cycle for c in bench.checkpoints] == [0]

    async def test_a_commit_that_is_cancelled_loses_the_session_since_nobody_knows_its_outcome(self) -> None:
        bench = Bench()
        bench.kafka.commit_seconds = 10.0
        session = await bench.take(SHARD)
        committing = asyncio.create_task(session.commit(KEY, deciding(Checkpoint(cycle=1))))
        await asyncio.sleep(1)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)
        assert session.lost.is_set()
        with pytest.raises(ProducerLostError):
            await session.commit(KEY, deciding(Checkpoint(cycle=2)))

    async def test_a_cancelled_wait_for_the_turn_loses_nothing(self) -> None:
        bench = Bench()
        bench.kafka.commit_seconds = 10.0
        session = await bench.take(SHARD)
        first = asyncio.create_task(session.commit(KEY, deciding(Checkpoint(cycle=1))))
        second = asyncio.create_task(session.commit(KEY, deciding(Checkpoint(cycle=2))))
        await asyncio.sleep(1)
        second.cancel()
        await first
        assert not session.lost.is_set()
        assert [c.cycle for c in bench.checkpoints] == [1]

    async def test_a_commit_that_hangs_is_given_up_after_its_deadline(self) -> None:
        bench = Bench()
        bench.kafka.commit_seconds = 1e6
        session = await bench.take(SHARD)
        with pytest.raises(ProducerLostError, match="committing a transaction took longer than 30 s"):
            await session.commit(KEY, deciding(Checkpoint()))
        assert bench.clock.monotonic() == pytest.approx(30, abs=0.1)

    async def test_a_closed_session_is_lost(self) -> None:
        bench = Bench()
        session = await bench.take(SHARD)
        await session.close()
        assert session.lost.is_set()
        with pytest.raises(ProducerLostError):
            await session.commit(KEY, deciding(Checkpoint(state=Idle())))


DUE = Due(ExportKind.SNAPSHOT)
