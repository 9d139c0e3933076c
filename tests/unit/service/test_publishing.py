"""From files to committed blocks: when a block is closed, how far ahead it is gathered, and what stopping leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from streamer.core.checkpoint import Checkpoint, Erased, encode_checkpoint
from streamer.core.events import Outcome
from streamer.core.states import Publishing
from streamer.errors import DownloadBrokenError, ExportLostError
from streamer.model import ExportStatus
from streamer.service.ahead import END, Chunks, one_ahead
from streamer.service.clock import Clock
from tests.memory_kafka import Trouble
from tests.unit.service.life_bench import BILLS, CHECKPOINTS, DEAD, KEY, SHARD, Bench

LINES = b"".join(b'{"Id":"%02d"}\n' % n for n in range(10))
LINE_BYTES = 12


def blocks_of(bench: Bench) -> list[int]:
    """Lines reached, checkpoint by checkpoint."""
    return [
        c.state.position.line for c in bench.checkpoints if isinstance(c.state, Publishing) and c.state.counts.lines
    ]


def position_of(checkpoint: Checkpoint) -> int:
    assert isinstance(checkpoint.state, Publishing)
    return checkpoint.state.position.offset


class TestClosingABlock:
    async def test_a_block_is_closed_by_size_at_a_line(self) -> None:
        bench = Bench((LINES,), block_bytes=3 * LINE_BYTES)
        bench.host.chunk_size = 7
        await bench.live()
        assert blocks_of(bench) == [3, 6, 9]
        bench.check_completed("e1")

    async def test_a_block_is_closed_by_age_while_the_download_stalls(self) -> None:
        bench = Bench((LINES,), block_bytes=1000, block_seconds=2.0)
        bench.host.chunk_size = 2 * LINE_BYTES
        bench.host.pauses = {("part-0.jsonl", 4 * LINE_BYTES): 30.0}
        async with bench.living():
            await bench.until(lambda: bool(blocks_of(bench)))
            assert blocks_of(bench) == [4]
            assert bench.times("publishing")[1] - bench.times("publishing")[0] == pytest.approx(2, abs=0.1)
            await bench.until(lambda: bench.stream.done is not None)
        assert bench.times("idle")[0] - bench.times("publishing")[0] == pytest.approx(30, abs=0.5)
        bench.check_completed("e1")

    async def test_a_slow_drip_is_published_as_it_comes(self) -> None:
        bench = Bench((LINES,), block_bytes=1000, block_seconds=2.0)
        bench.host.chunk_size = LINE_BYTES
        bench.host.pauses = {("part-0.jsonl", n * LINE_BYTES): 1.0 for n in range(1, 10)}
        await bench.live()
        times = bench.times("publishing")[1:]
        assert len(times) >= 3
        assert all(1.9 < later - earlier < 3.1 for earlier, later in pairwise(times))
        bench.check_completed("e1")

    async def test_an_unfinished_line_alone_is_waited_for_and_makes_no_block(self) -> None:
        bench = Bench((LINES,), block_seconds=2.0)
        bench.host.chunk_size = 5
        bench.host.pauses = {("part-0.jsonl", 5): 100.0}
        async with bench.living():
            await bench.until_publishing()
            await asyncio.sleep(90)
            assert blocks_of(bench) == []
            await bench.until(lambda: bench.stream.done is not None)
        bench.check_completed("e1")

    async def test_the_age_of_a_block_is_that_of_its_first_bytes(self) -> None:
        bench = Bench((LINES,), block_bytes=1000, block_seconds=2.0)
        bench.host.chunk_size = LINE_BYTES
        bench.host.pauses = {("part-0.jsonl", 0): 50.0, ("part-0.jsonl", LINE_BYTES): 1.5}
        await bench.live()
        assert blocks_of(bench) == []
        bench.check_completed("e1")

    async def test_a_stalled_download_holds_no_transaction_open(self) -> None:
        bench = Bench((LINES,), block_bytes=1000, block_seconds=2.0)
        bench.host.chunk_size = LINE_BYTES
        bench.host.pauses = {("part-0.jsonl", LINE_BYTES): 500.0}
        async with bench.living():
            await bench.until_publishing()
            await asyncio.sleep(100)
            assert bench.kafka.transactions == bench.kafka.committed_transactions
            await bench.until(lambda: bench.stream.done is not None)


class TestTheErased:
    async def test_nothing_is_published_where_nobody_can_tell_who_they_are(self) -> None:
        bench = Bench((LINES,))
        erased = {"hash": Erased(datetime(2026, 3, 1, tzinfo=UTC), by="another key")}
        bench.kafka.put(CHECKPOINTS, str(KEY).encode(), encode_checkpoint(Checkpoint(erased=erased)))
        async with bench.living():
            await bench.until_publishing()
            await asyncio.sleep(600)
            assert not bench.kafka.committed(BILLS)
            assert blocks_of(bench) == []


class TestGatheringAhead:
    async def test_while_a_block_is_committed_the_next_is_gathered_and_no_more_than_a_chunk_besides(self) -> None:
        bench = Bench((LINES,), block_bytes=2 * LINE_BYTES)
        bench.host.chunk_size = LINE_BYTES
        served = []
        async with bench.living():
            await bench.until(lambda: bench.mews.add_calls > 0)
            bench.kafka.commit_seconds = 10.0
            await bench.until_publishing()
            for _ in range(70):
                await asyncio.sleep(1)
                if bench.checkpoint.phase == "publishing":
                    served.append((bench.host.served - position_of(bench.checkpoint)) // LINE_BYTES)
        assert max(served) == 2 + 2 + 1
        bench.check_completed("e1")

    async def test_while_the_last_block_of_a_file_is_committed_the_next_file_is_begun(self) -> None:
        bench = Bench((LINES[: 2 * LINE_BYTES], LINES), block_bytes=1000)
        async with bench.living():
            await bench.until(lambda: bench.mews.add_calls > 0)
            bench.kafka.commit_seconds = 10.0
            await bench.until(lambda: len(bench.host.opened) == 2)
            assert bench.host.opened == [("part-0.jsonl", 0), ("part-1.jsonl", 0)]
            await asyncio.sleep(5)
            assert blocks_of(bench) == []
            assert bench.host.served == 12 * LINE_BYTES
            await bench.until(lambda: bench.stream.done is not None)
        bench.check_completed("e1")

    async def test_a_next_file_that_is_gone_does_not_keep_the_last_block_from_being_committed(self) -> None:
        bench = Bench((LINES, LINES), block_bytes=1000)
        bench.host.pauses = {("part-1.jsonl", 0): 1.0}
        async with bench.living():
            await bench.until(lambda: bench.mews.add_calls > 0)
            bench.kafka.commit_seconds = 10.0
            await bench.until(lambda: len(bench.host.opened) == 2)
            bench.host.breaks = [ExportLostError("file changed")]
            await bench.until(lambda: "export_failed" in bench.told)
        assert len(bench.kafka.committed(BILLS)) == 10

    async def test_one_item_is_made_ahead_of_the_one_in_hand(self) -> None:
        made: list[int] = []

        async def numbers() -> AsyncGenerator[int, None]:
            for n in range(5):
                made.append(n)
                yield n

        async with aclosing(one_ahead(numbers())) as ahead:
            async for n in ahead:
                await asyncio.sleep(1)
                assert made == list(range(min(n + 2, 5)))
        assert made == [0, 1, 2, 3, 4]

    async def test_what_was_made_before_a_failure_is_handed_out_first(self) -> None:
        async def failing() -> AsyncGenerator[int, None]:
            yield 1
            yield 2
            raise DownloadBrokenError("cut")

        async with aclosing(one_ahead(failing())) as ahead:
            assert await anext(ahead) == 1
            assert await anext(ahead) == 2
            with pytest.raises(DownloadBrokenError):
                await anext(ahead)

    async def test_leaving_early_ends_what_is_being_made(self) -> None:
        ended = []

        async def endless() -> AsyncGenerator[int, None]:
            try:
                yield 1
                await asyncio.sleep(1e6)
                yield 2
            finally:
                ended.append(True)

        async with aclosing(one_ahead(endless())) as ahead:
            assert await anext(ahead) == 1
            await asyncio.sleep(1)
        assert ended == [True]


class TestStopping:
    async def test_stopping_commits_what_is_in_hand_and_the_next_process_goes_on_there(self) -> None:
        bench = Bench((LINES,), block_bytes=1000, block_seconds=20.0)
        bench.host.chunk_size = LINE_BYTES
        bench.host.pauses = {("part-0.jsonl", 3 * LINE_BYTES): 300.0}
        async with bench.living():
            await bench.until_publishing()
            await asyncio.sleep(5)
            assert blocks_of(bench) == []
            stopped_at = bench.clock.monotonic()
        assert bench.clock.monotonic() - stopped_at < 0.1
        assert blocks_of(bench) == [3]
        assert bench.kafka.transactions == bench.kafka.committed_transactions
        bench.clock.stopping.clear()
        bench.stream = bench.new_stream()
        await bench.live()
        assert bench.host.opened == [("part-0.jsonl", 0), ("part-0.jsonl", 3 * LINE_BYTES)]
        bench.check_completed("e1")

    async def test_stopping_before_a_whole_line_has_come_commits_nothing(self) -> None:
        bench = Bench((LINES,))
        bench.host.chunk_size = 5
        bench.host.pauses = {("part-0.jsonl", 5): 300.0}
        async with bench.living():
            await bench.until_publishing()
            await asyncio.sleep(5)
        assert bench.checkpoint.phase == "publishing"
        assert blocks_of(bench) == []

    async def test_stopping_while_a_commit_is_under_way_waits_for_it(self) -> None:
        bench = Bench((LINES,), block_bytes=2 * LINE_BYTES)
        bench.host.chunk_size = LINE_BYTES
        async with bench.living():
            await bench.until(lambda: bench.mews.add_calls > 0)
            bench.kafka.commit_seconds = 5.0
            await bench.until_publishing()
            await asyncio.sleep(1)
        assert blocks_of(bench)[:1] == [2]
        assert bench.kafka.transactions == bench.kafka.committed_transactions


class TestResuming:
    async def test_a_file_is_taken_up_at_its_line_and_with_its_etag(self) -> None:
        bench = Bench((b'{"Id":"a"}\n', LINES), block_bytes=2 * LINE_BYTES)
        bench.kafka.troubles = {7: Trouble.BATCH_FAILS}
        bench.host.chunk_size = LINE_BYTES
        await bench.live()
        bench.check_completed("e1")
        name, offset = bench.host.opened[-1]
        assert name == "part-1.jsonl"
        assert offset % LINE_BYTES == 0
        assert offset > 0
        states = [c.state for c in bench.checkpoints if isinstance(c.state, Publishing)]
        assert {state.position.etag for state in states if state.position.offset} == {'"v1"'}

    async def test_the_number_of_partitions_in_the_checkpoint_goes_on_being_used(self) -> None:
        bench = Bench((LINES,), once=False)
        first = await bench.take(SHARD)
        await first.commit(bench.stream.key, lambda _: Outcome(Checkpoint(partitions=1)))
        await first.close()
        async with bench.living():
            await bench.until(lambda: "export_completed" in bench.told)
        assert {record.partition for record in bench.kafka.committed(BILLS)} == {0}
        assert bench.checkpoint.partitions == 1

    async def test_an_export_whose_files_are_not_ready_any_more_is_asked_for_again(self) -> None:
        bench = Bench((LINES,))
        bench.mews.answers = [ExportStatus.SUCCESS, ExportStatus.PROCESSING, ExportStatus.UNKNOWN]
        await bench.live()
        bench.check_completed("e1")


async def test_dead_letters_are_cut_to_what_their_topic_takes_and_keep_their_headers() -> None:
    bench = Bench((b'{"Id":"a"}\nno json, and long\n',))
    await bench.live()
    (letter,) = bench.kafka.committed(DEAD)
    assert letter.key == b"alpine/Bill"
    assert letter.value == b"no json, a"
    headers = dict(letter.headers)
    assert headers["streamer.length"] == b"17"
    assert headers["streamer.line"] == b"2"
    assert letter.ce_id == "e1/0/11"


class TestChunks:
    @asynccontextmanager
    async def chunks(self, *delays: float) -> AsyncGenerator[tuple[Chunks, Clock], None]:
        clock = Clock()

        async def source() -> AsyncIterator[bytes]:
            for n, delay in enumerate(delays):
                await asyncio.sleep(delay)
                yield b"%d" % n

        async with Chunks(source(), clock.stopping, asyncio.Event()) as chunks:
            yield chunks, clock

    async def test_a_chunk_that_does_not_come_in_time_is_not_lost(self) -> None:
        async with self.chunks(10.0, 0.0) as (chunks, _):
            assert await chunks.next(within=4) is None
            assert await chunks.next(within=4) is None
            assert await chunks.next(within=4) == b"0"
            assert await chunks.next(within=0) in (None, b"1")

    async def test_without_a_limit_it_waits_for_as_long_as_it_takes(self) -> None:
        async with self.chunks(1e5) as (chunks, _):
            assert await chunks.next(within=None) == b"0"
            assert await chunks.next(within=None) is END

    async def test_stopping_ends_the_wait(self) -> None:
        async with self.chunks(1e5) as (chunks, clock):
            asyncio.get_running_loop().call_later(3, clock.stopping.set)
            assert await chunks.next(within=None) is None
            assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.1)
