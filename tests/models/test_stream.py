"""The life of a stream, from idle to completed and through whatever Mews and Kafka do to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from streamer.core.checkpoint import Checkpoint, encode_checkpoint
from streamer.core.states import Idle, Stopped
from streamer.errors import MewsUnavailableError
from streamer.model import Export, ExportFile, ExportId, ExportStatus, Link
from tests.memory_kafka import Trouble
from tests.unit.service.life_bench import BILLS, CHECKPOINTS, INTERVAL, KEY, LIFE, START, Bench

HOUR = 3600.0
PENDING, SUCCESS = ExportStatus.PENDING, ExportStatus.SUCCESS


async def test_a_whole_life_leads_from_idle_to_completed() -> None:
    bench = Bench()
    bench.mews.answers = [PENDING, ExportStatus.PROCESSING, SUCCESS]
    await bench.live()
    bench.check_completed("e1")
    assert bench.told == LIFE
    phases = list(dict.fromkeys(phase for phase, _ in bench.commits()))
    assert phases == ["requesting", "waiting", "publishing", "idle"]
    assert bench.times("publishing")[0] == pytest.approx(900, abs=1)
    assert bench.mews.add_calls == 1
    assert bench.stream.done == bench.checkpoint
    assert bench.checkpoint.snapshot is not None
    assert bench.checkpoint.snapshot.export_id == "e1"
    assert bench.checkpoint.partitions == 3
    assert {c.term for c in bench.checkpoints} == {1}
    assert {c.owner for c in bench.checkpoints} == {"me"}


async def test_an_export_without_files_completes_and_publishes_nothing() -> None:
    bench = Bench(files=())
    await bench.live()
    bench.check_completed("e1")
    assert bench.told == ["export_requested", "export_ready", "export_completed"]


async def test_the_next_snapshot_follows_an_interval_after_the_last_ones_request() -> None:
    bench = Bench(once=False)
    async with bench.living():
        await bench.until(lambda: bench.told.count("export_completed") == 2, every=60)
    bench.check_completed("e1")
    bench.check_completed("e2")
    first, second = bench.times("add")
    assert second - first == pytest.approx(INTERVAL.total_seconds(), abs=1)
    assert bench.checkpoint.cycle == 2


async def test_once_ends_after_one_completed_export_and_finishes_a_half_done_one_first() -> None:
    bench = Bench()
    bench.is_mortal = True
    bench.kafka.troubles = {5: Trouble.DIES_BEFORE_COMMIT}
    await bench.live()
    assert bench.lives == 2
    assert bench.mews.added == ["e1"]
    bench.check_completed("e1")


async def test_once_ends_at_once_where_the_stream_is_stopped_for_a_person() -> None:
    bench = Bench()
    look_at = START + timedelta(days=6)
    stopped = Checkpoint(state=Stopped(reason="no", since=START, look_at=look_at, before=Idle()))
    bench.kafka.put(CHECKPOINTS, str(KEY).encode(), encode_checkpoint(stopped))
    await bench.live()
    assert bench.clock.monotonic() < 1
    assert bench.stream.done == stopped
    assert not bench.mews.add_calls


async def test_stopping_while_idle_ends_the_stream_at_once() -> None:
    bench = Bench(once=False)
    async with bench.living():
        await bench.until(lambda: "export_completed" in bench.told)
        await asyncio.sleep(1000)
        before = bench.clock.monotonic()
    assert bench.clock.monotonic() - before < 0.1


class TestLostExports:
    @pytest.mark.parametrize(
        ("status", "event"), [(ExportStatus.FAILED, "export_failed"), (ExportStatus.EXPIRED, "export_expired")]
    )
    @pytest.mark.parametrize("while_publishing", [False, True], ids=["waiting", "publishing"])
    async def test_a_failed_or_expired_export_is_told_and_a_new_cycle_follows_after_a_wait(
        self, status: ExportStatus, event: str, while_publishing: bool
    ) -> None:
        bench = Bench()
        bench.mews.answers = [SUCCESS, status] if while_publishing else [PENDING, status]
        await bench.live()
        assert bench.told == [*LIFE[: 2 if while_publishing else 1], event, *LIFE]
        (failed_at,) = bench.times("idle")[:-1]
        assert bench.times("add")[1] - failed_at == pytest.approx(5, abs=0.1)
        assert bench.checkpoint.cycle == 2
        assert bench.checkpoint.failures == 0
        bench.check_completed("e2")

    async def test_exports_that_fail_one_after_another_are_asked_for_ever_more_rarely(self) -> None:
        bench = Bench()
        bench.mews.answers = [ExportStatus.FAILED] * 4
        await bench.live()
        failed, added = bench.times("idle")[:-1], bench.times("add")[1:]
        assert [b - a for a, b in zip(failed, added, strict=True)] == pytest.approx([5, 10, 20, 40], abs=0.1)
        bench.check_completed("e5")

    async def test_an_unknown_status_is_waited_on_with_a_warning(self) -> None:
        bench = Bench()
        bench.mews.answers = [ExportStatus.UNKNOWN, ExportStatus.UNKNOWN]
        with capture_logs() as logs:
            await bench.live()
        assert [log["status"] for log in logs if log["event"] == "export_status_unknown"] == ["Dozing"] * 2
        assert bench.told == LIFE

    async def test_an_export_that_mews_does_not_know_yet_is_given_some_polls(self) -> None:
        bench = Bench()
        bench.mews.answers = [None] * 4
        await bench.live()
        assert bench.told == LIFE

    async def test_an_export_that_mews_never_knows_expires_and_the_next_is_given_as_many_polls(self) -> None:
        bench = Bench()
        bench.mews.answers = [None] * 9
        await bench.live()
        assert bench.told == ["export_requested", "export_expired", *LIFE]
        bench.check_completed("e2")

    @pytest.mark.parametrize(
        "change",
        [
            lambda files: files[:-1],
            lambda files: (*files, ExportFile(Link("https://blobs.test/more.jsonl?sig=1"), 1)),
            lambda files: (*files[:-1], ExportFile(files[-1].link, files[-1].size + 1)),
            lambda files: (files[1], files[0], *files[2:]),
        ],
        ids=["fewer", "more", "another size", "another order"],
    )
    async def test_a_list_of_files_that_has_changed_fails_the_export(
        self, change: Callable[[tuple[ExportFile, ...]], tuple[ExportFile, ...]]
    ) -> None:
        bench = Bench()
        changed = Export(ExportId("e1"), SUCCESS, change(bench.mews.listed()))
        bench.mews.answers = [SUCCESS, changed]
        await bench.live()
        assert bench.told == [*LIFE[:2], "export_failed", *LIFE]
        bench.check_completed("e2")

    async def test_polls_that_fail_are_made_again_with_ever_longer_waits(self) -> None:
        bench = Bench()
        bench.mews.answers = [MewsUnavailableError("502")] * 3
        await bench.live()
        assert bench.told == LIFE
        assert bench.mews.add_calls == 1


class TestTooManyDeadLetters:
    async def test_the_export_fails_and_the_stream_stops_until_the_next_snapshot_interval(self) -> None:
        bench = Bench(once=False, max_dead_letters=0)
        async with bench.living():
            await bench.until(lambda: bench.checkpoint.phase == "stopped")
            state = bench.checkpoint.state
            assert isinstance(state, Stopped)
            assert state.look_at - state.since == INTERVAL
            assert state.before == Idle()
            assert bench.told == ["export_requested", "export_ready", "export_failed"]
            assert bench.events[-1]["reason"] == state.reason
            assert "file 0 line 4: the Id is null" in state.reason
            bench.mews.files = {"part-0.jsonl": b'{"Id":"a"}\n'}
            await bench.until(lambda: "export_completed" in bench.told, every=60)
        bench.check_completed("e2")

    async def test_what_was_published_before_and_the_partitions_are_kept(self) -> None:
        bench = Bench((b'{"Id":"a"}\n' * 10, b"bad\n"), max_dead_letters=0)
        await bench.live()
        assert bench.told == ["export_requested", "export_ready", "file_published", "export_failed"]
        assert len(bench.kafka.committed(BILLS)) == 10
        assert bench.checkpoint.partitions == 3

    async def test_dead_letters_are_counted_over_the_blocks_of_the_export(self) -> None:
        bench = Bench((b"bad\n" * 3, b"bad\n" * 2), max_dead_letters=4, block_bytes=1)
        await bench.live()
        assert isinstance(bench.checkpoint.state, Stopped)

    async def test_as_many_as_are_allowed_are_published(self) -> None:
        bench = Bench((b"bad\n" * 3, b"bad\n" * 2), max_dead_letters=5, block_bytes=1)
        await bench.live()
        bench.check_completed("e1")


class TestExactlyOnce:
    async def test_a_lost_session_goes_on_at_the_checkpoint_and_reads_no_file_again_from_its_start(self) -> None:
        bench = Bench((b'{"Id":"a"}\n' * 20,))
        bench.kafka.troubles = {8: Trouble.DIES_AFTER_COMMIT}
        await bench.live()
        bench.check_completed("e1")
        (_, first), (_, resumed) = bench.host.opened
        assert first == 0
        assert resumed > 0


def both(first: Callable[[Sequence[Any]], object], second: Callable[[Sequence[Any]], object]) -> Callable[..., object]:
    return lambda records: (first(records), second(records))


class TestTopicLost:
    async def test_a_topic_made_anew_in_mid_export_fails_it_and_all_is_published_anew(self) -> None:
        bench = Bench()
        # Behind the first commits, as offsets are given again from 0.
        bench.kafka.on_commit = both(bench.kafka.on_commit, lambda _: self.lose(bench, after=5))
        with capture_logs() as logs:
            await bench.live()
        assert bench.told[-len(LIFE) :] == LIFE
        (failed,) = [event for event in bench.events if event["event"] == "export_failed"]
        assert failed["export_id"] == "e1"
        assert "the topic mews.bill ends below what was published" in failed["reason"]
        bench.check_completed("e2")
        assert [log["log_level"] for log in logs if log["event"] == "topic_lost"] == ["error"]

    async def test_a_topic_made_anew_between_exports_is_found_by_the_next_and_followed_by_a_snapshot(self) -> None:
        bench = Bench(once=False)
        async with bench.living():
            await bench.until(lambda: "export_completed" in bench.told)
            bench.kafka.make_anew(BILLS)
            await bench.until(lambda: "export_failed" in bench.told, every=60)
            lost = bench.checkpoint
            await bench.until(lambda: bench.told.count("export_completed") == 2)
        assert (lost.snapshot, lost.window, lost.partitions, dict(lost.ends)) == (None, None, None, {})
        assert bench.mews.added == ["e1", "e2", "e3"]
        bench.check_completed("e3")
        second, third = bench.times("add")[1:]
        # At once: what lies between is the one poll of the export that failed.
        assert third - second <= bench.poll_interval.total_seconds() + 1

    def lose(self, bench: Bench, *, after: int) -> None:
        if len(bench.checkpoints) == after:
            bench.kafka.make_anew(BILLS)


class TestHigherVersions:
    async def test_a_checkpoint_of_a_higher_version_is_left_alone(self) -> None:
        bench = Bench(once=False)
        newer = msgspec.json.encode({"v": 2, "state": {"phase": "dreaming"}})
        bench.kafka.put(CHECKPOINTS, str(KEY).encode(), newer)
        with capture_logs() as logs:
            async with bench.living():
                await asyncio.sleep(24 * HOUR)
        assert not bench.mews.add_calls
        assert not bench.mews.fetches
        assert [r.value for r in bench.kafka.committed(CHECKPOINTS)] == [newer]
        assert [log["log_level"] for log in logs if log["event"] == "stream_left_alone"] == ["error"]
