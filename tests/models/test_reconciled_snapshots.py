"""Snapshots after the first: what is left out, what gets a tombstone, and that no trouble on the way changes either."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from streamer.core.checkpoint import Completed
from streamer.core.differences import BYTES_PER_ENTITY, Budget
from streamer.core.states import Counts, Publishing, Reconciling
from streamer.errors import KafkaUnavailableError
from streamer.kafka.decoding import Source
from streamer.model import ExportId, ExportStatus
from tests.memory_kafka import Record, Trouble
from tests.unit.cases import cases
from tests.unit.service.life_bench import BILLS, START
from tests.unit.service.moving_bench import FIRST, SECOND, Moving, files_of, line


def completed_with(**fields: Any) -> Completed:
    return Completed(ExportId("e0"), START, START, Counts(), **fields)


class TestWhatIsPublished:
    async def test_the_first_snapshot_publishes_all_and_costs_a_single_look_at_the_topic(self) -> None:
        bench = Moving()
        await bench.snapshots(FIRST)
        assert bench.counts() == (16, 0, 0, 0)
        assert bench.view() == FIRST
        assert bench.reader.reads == [BILLS]
        states = [c.state for c in bench.checkpoints if isinstance(c.state, Publishing)]
        assert {state.share for state in states} == {None}

    async def test_later_ones_publish_what_is_new_and_tombstones_for_what_is_gone(self) -> None:
        bench = Moving()
        await bench.snapshots(FIRST, SECOND, SECOND, FIRST)
        assert [bench.counts(n) for n in range(4)] == [(16, 0, 0, 0), (2, 12, 3, 0), (0, 14, 0, 0), (4, 12, 1, 0)]
        assert bench.view() == FIRST
        assert "reconciling" in [checkpoint.phase for checkpoint in bench.checkpoints]

    async def test_what_comes_twice_in_an_export_is_compared_with_itself(self) -> None:
        bench = Moving()
        twice = [b"\n".join((line("00", 2), line("00", 2), line("00", 3), line("01", 1)))]
        await bench.snapshots({"00": 1, "01": 1}, twice)
        assert bench.counts() == (2, 2, 0, 0)
        assert bench.view() == {"00": 3, "01": 1}

    async def test_a_new_entity_that_comes_twice_in_an_export_is_news_once(self) -> None:
        bench = Moving()
        old, new = "2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z"
        at_once = b"\n".join((line("00", 1), line("new", 2, UpdatedUtc=new), line("new", 2, UpdatedUtc=new)))
        later = b"\n".join((line("new", 2, UpdatedUtc=new), line("new", 1, UpdatedUtc=old)))
        await bench.snapshots({"00": 1}, [at_once, later], [at_once, later])
        assert [bench.counts(n) for n in (1, 2)] == [(1, 4, 0, 0), (0, 5, 0, 0)]
        assert bench.view() == {"00": 1, "new": 2}

    async def test_a_line_that_is_older_than_what_the_topic_says_is_left_out(self) -> None:
        bench = Moving()
        old, new = "2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z"
        await bench.snapshots(
            [line("00", 2, UpdatedUtc=new)],
            [line("00", 1, UpdatedUtc=old)],
            [line("00", 3, UpdatedUtc=new)],
        )
        assert [bench.counts(n) for n in range(3)] == [(1, 0, 0, 0), (0, 1, 0, 0), (1, 0, 0, 0)]
        assert bench.view() == {"00": 3}

    async def test_without_reconciling_every_snapshot_publishes_every_line(self) -> None:
        bench = Moving()
        bench.reconciling = msgspec.structs.replace(bench.reconciling, enabled=False)
        bench.stream = bench.new_stream()
        await bench.snapshots(FIRST, SECOND)
        assert bench.counts() == (14, 0, 0, 0)
        assert bench.reader.reads == []

    async def test_others_records_say_nothing(self) -> None:
        bench = Moving()
        bench.kafka.put(BILLS, b"00", line("00", 1))
        bench.kafka.put(BILLS, b"99", line("99", 1))
        await bench.snapshots(FIRST, FIRST)
        assert [bench.counts(n) for n in range(2)] == [(16, 0, 0, 0), (0, 16, 0, 0)]
        assert bench.view() == {**FIRST, "99": 1}

    async def test_without_headers_a_topic_of_ones_own_is_compared_all_the_same(self) -> None:
        bench = Moving()
        bench.reconciling = msgspec.structs.replace(bench.reconciling, source=Source(b"/mews/alpine", or_none=True))
        bench.stream = bench.new_stream()
        bench.kafka.put(BILLS, b"00", line("00", 1))
        bench.kafka.put(BILLS, b"99", line("99", 1))
        await bench.snapshots(FIRST)
        # What nobody signed is ours then, and so it may also be gone.
        assert bench.counts() == (15, 1, 1, 0)


class TestWhatIsWithheld:
    async def test_what_changed_in_the_hour_before_the_request_is_not_gone_yet(self) -> None:
        bench = Moving()
        # The daemon's clock is an hour ahead of Mews', so the snapshot is asked for at 17:00 there.
        young, old = "2026-03-01T16:00:00Z", "2026-03-01T15:59:59Z"
        await bench.snapshots([line("00", 1, UpdatedUtc=young) + b"\n" + line("01", 1, UpdatedUtc=old)], {"02": 1})
        assert bench.completed[-1]["requested_at"] == "2026-03-01T18:00:00Z"
        assert bench.view() == {"00": 1, "02": 1}
        await bench.snapshots({"02": 1})
        assert bench.view() == {"02": 1}

    async def test_a_line_without_an_id_may_be_any_entity(self) -> None:
        bench = Moving()
        await bench.snapshots(FIRST, files_of(SECOND, extra=b"{no json\n"))
        assert bench.counts() == (2, 12, 0, 3)
        assert bench.completed[-1]["tombstones_withheld_why"] == "unreadable_lines"
        await bench.snapshots(SECOND)
        assert bench.view() == SECOND

    async def test_a_dead_letter_with_an_id_is_an_entity_that_lives(self) -> None:
        bench = Moving()
        await bench.snapshots({"00": 1, "01": 1, "02": 1})
        bad = line("00", 2, Name="?").replace(b"?", b"\xe9")
        async with bench.living():
            bench.clock.stopping.clear()
            bench.show([bad + b"\n" + line("01", 1)])
            await bench.until(lambda: len(bench.completed) == 2, every=60)
        assert bench.completed[-1]["dead_letters"] == 1
        assert bench.counts() == (0, 1, 1, 0)
        assert bench.view() == {"00": 1, "01": 1}

    async def test_a_changed_scope_never_leads_to_tombstones_however_often(self) -> None:
        bench = Moving()
        await bench.snapshots(FIRST)
        await bench.put(lambda c: msgspec.structs.replace(c, snapshot=completed_with(scope="wide")))
        # The first of them follows at once, when all that is gone is too young to be called so.
        await bench.snapshots(SECOND, SECOND, SECOND)
        assert [bench.counts(n)[2:] for n in (1, 2, 3)] == [(0, 0), (0, 3), (0, 3)]
        assert bench.completed[-1]["tombstones_withheld_why"] == "scope_changed"
        # A person has seen it, and says that what the old scope reached is to go.
        await bench.put(lambda c: msgspec.structs.replace(c, let_tombstones_through=True))
        await bench.snapshots(SECOND)
        assert bench.view() == SECOND
        assert bench.checkpoint.snapshot is not None
        assert bench.checkpoint.snapshot.earlier_scope is None
        assert not bench.checkpoint.let_tombstones_through

    async def test_too_many_wait_for_a_person(self) -> None:
        many = {f"{n:02}": 1 for n in range(30)}
        few = {f"{n:02}": 1 for n in range(9)}
        bench = Moving()
        await bench.snapshots(many, few)
        assert bench.counts() == (0, 9, 0, 21)
        assert bench.completed[-1]["tombstones_withheld_why"] == "too_many"
        assert bench.metrics.tombstones_withheld.labels("alpine", "Bill")._value.get() == 21
        await bench.put(lambda c: msgspec.structs.replace(c, let_tombstones_through=True))
        await bench.snapshots(few)
        assert bench.counts() == (0, 9, 21, 0)
        assert bench.metrics.tombstones_withheld.labels("alpine", "Bill")._value.get() == 0
        assert bench.view() == few

    @cases(
        ("settings", "foreign", "why"),
        [
            ({"shared_keys": True, "shared_topic": True}, False, "shared_keys"),
            # Whoever else has written there is not of this process' settings, or not any more.
            ({"shared_keys": True}, True, "shared_keys"),
            ({"shared_keys": True}, False, ""),
            ({"shared_topic": True}, True, ""),
            ({"at_least_once": True}, False, "at_least_once"),
        ],
    )
    async def test_settings_withhold(self, settings: dict[str, bool], foreign: bool, why: str) -> None:
        bench = Moving()
        bench.reconciling = msgspec.structs.replace(bench.reconciling, **settings)
        bench.stream = bench.new_stream()
        if foreign:
            bench.kafka.put(BILLS, b"99", line("99", 1))
        await bench.snapshots(FIRST, SECOND)
        assert bench.completed[-1]["tombstones_withheld_why"] == why
        assert bench.counts()[2:] == ((0, 3) if why else (3, 0))

    async def test_an_export_without_files_may_mean_that_all_is_gone(self) -> None:
        bench = Moving()
        await bench.snapshots(FIRST, [])
        assert bench.counts() == (0, 0, 16, 0)
        assert bench.view() == {}


class TestTrouble:
    async def test_files_that_are_gone_leave_what_is_gone_alone(self) -> None:
        bench = Moving()
        await bench.snapshots(FIRST)
        bench.show(files_of(SECOND))

        def expire() -> None:
            if isinstance(bench.checkpoint.state, Reconciling):
                # The next transaction is the tombstones', and whoever takes over finds no files any more.
                bench.kafka.troubles = {bench.kafka.transactions + 1: Trouble.BATCH_FAILS}
                bench.mews.answers = [ExportStatus.EXPIRED]
                bench.kafka.on_commit = noted

        noted = bench.kafka.on_commit

        def note(records: Sequence[tuple[str, Record]]) -> None:
            noted(records)
            expire()

        bench.kafka.on_commit = note
        bench.clock.stopping.clear()
        async with bench.living():
            await bench.until(lambda: len(bench.completed) == 2, every=60, limit=40 * 3600)
        bench.check()
        assert bench.counts() == (2, 12, 0, 3)
        assert bench.completed[-1]["tombstones_withheld_why"] == "files_gone"

    async def test_what_the_topic_says_is_read_again_when_kafka_did_not_answer(self) -> None:
        bench = Moving()
        await bench.snapshots(FIRST)
        bench.reader.troubles = [KafkaUnavailableError("no broker answers")]
        await bench.snapshots(SECOND)
        assert bench.counts() == (2, 12, 3, 0)

    async def test_stopping_while_the_topic_is_read_back_leaves_it_for_later(self) -> None:
        bench = Moving()
        await bench.snapshots(FIRST)
        bench.show(files_of(SECOND))
        bench.reader.on_slice = bench.clock.stopping.set
        bench.clock.stopping.clear()
        await bench.live()
        assert bench.checkpoint.phase == "publishing"
        assert bench.budget.take(object(), bench.budget.limit)
        bench.reader.on_slice = lambda: None
        bench.budget = Budget(1_000_000)
        bench.stream = bench.new_stream()
        bench.clock.stopping.clear()
        async with bench.living():
            await bench.until(lambda: len(bench.completed) == 2)
        bench.check()
        assert bench.view() == SECOND


class TestMemory:
    async def test_what_does_not_fit_at_once_is_compared_in_shares(self) -> None:
        bench = Moving()
        bench.budget = Budget(9 * BYTES_PER_ENTITY)
        bench.stream = bench.new_stream()
        await bench.snapshots(FIRST, SECOND, SECOND)
        assert [bench.counts(n) for n in range(3)] == [(16, 0, 0, 0), (2, 12, 3, 0), (0, 14, 0, 0)]
        assert bench.view() == SECOND
        shares = {c.state.share.first for c in bench.checkpoints if isinstance(c.state, Publishing) and c.state.share}
        assert len(shares) == 3
        told = [event["file"] for event in bench.events if event["event"] == "file_published"]
        assert told == [0, 1] * 3

    async def test_a_partition_that_does_not_fit_alone_is_published_as_it_comes(self) -> None:
        bench = Moving()
        bench.budget = Budget(2 * BYTES_PER_ENTITY)
        bench.stream = bench.new_stream()
        await bench.snapshots(FIRST, SECOND)
        assert bench.counts() == (14, 0, 0, 0)

    async def test_a_table_that_grows_too_large_takes_no_more_in(self) -> None:
        bench = Moving()
        await bench.snapshots({"00": 1, "01": 1})
        bench.budget = Budget(4 * BYTES_PER_ENTITY)
        bench.stream = bench.new_stream()
        # With blocks of three lines it is full after the second.
        await bench.snapshots(
            [b"\n".join(line(id, 2) for id in ("00", "02", "03", "04", "05", "06", "07", "00", "07"))]
        )
        assert bench.counts() == (8, 1, 1, 0)

    async def test_memory_that_others_have_is_waited_for(self) -> None:
        bench = Moving()
        await bench.snapshots(FIRST)
        other = object()
        assert bench.budget.take(other, bench.budget.limit - BYTES_PER_ENTITY)
        bench.clock.stopping.clear()
        async with bench.living():
            bench.show(files_of(SECOND))
            await bench.until_publishing()
            await bench.until(lambda: bench.reader.reads.count(BILLS) > 1)
            before = len(bench.checkpoints)
            await asyncio.sleep(60)
            assert len(bench.checkpoints) == before
            bench.budget.release(other)
            await bench.until(lambda: len(bench.completed) == 2)
        bench.check()
        assert bench.counts() == (2, 12, 3, 0)

    async def test_a_shard_that_goes_while_the_reader_closes_gives_its_memory_back(self) -> None:
        """Closing takes as long as a broker that is away lets it, and that is when shards go."""
        bench = Moving()
        await bench.snapshots(FIRST)
        bench.show(files_of(SECOND))
        bench.clock.stopping.clear()
        bench.reader.closing = asyncio.Event()
        life = asyncio.create_task(bench.live())
        await bench.until(lambda: bench.budget.others(object()))
        life.cancel()
        await asyncio.sleep(1)
        assert not bench.budget.others(object())
