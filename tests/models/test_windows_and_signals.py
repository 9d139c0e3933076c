"""A stream's loop with windows and signals: what consumers see of them, whatever befalls the transactions."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from streamer.core.signals import (
    AbandonExport,
    AdoptExport,
    LetTombstonesThrough,
    Pause,
    Resume,
    Retry,
    Signal,
    SnapshotNow,
    WindowNow,
)
from streamer.core.states import Publishing
from streamer.errors import AccessRefusedError, AddRejectedError, MewsUnavailableError
from streamer.model import EntityType, Export, ExportId, ExportStatus, Window
from tests.unit.service.life_bench import BILLS, BLOCKED_LIMIT, INTERVAL, SERVER_START, Bench

UPDATES = timedelta(minutes=15)
LINES = b"".join(b'{"Id":"%02d"}\n' % n for n in range(10))
STRANGE = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def a_bench(files: tuple[bytes, ...] = (LINES,)) -> Bench:
    return Bench(files, once=False, update_interval=UPDATES)


def windows(bench: Bench) -> list[Window]:
    return [window for window, _ in bench.mews.asked if window is not None]


def answers(bench: Bench) -> list[str]:
    return [e["event"] for e in bench.events if e["event"].startswith("signal_")]


async def until_told(bench: Bench, event: str, times: int = 1) -> None:
    await bench.until(lambda: bench.told.count(event) >= times, every=5.0, limit=1e5)


class TestWindows:
    async def test_after_the_first_snapshot_windows_follow_one_another_by_mews_clock(self) -> None:
        bench = a_bench()
        async with bench.living():
            await until_told(bench, "export_completed", 4)
        first, second, third = windows(bench)[:3]
        snapshot_at = SERVER_START
        assert timedelta() <= (snapshot_at - timedelta(minutes=10)) - first.start < timedelta(seconds=2)
        assert second.start == first.end - timedelta(minutes=10)
        assert third.start == second.end - timedelta(minutes=10)
        assert bench.checkpoint.covered_to is not None
        assert [e["kind"] for e in bench.events if e["event"] == "export_completed"][:4] == [
            "snapshot",
            *3 * ["window"],
        ]
        for export_id in bench.mews.added[:4]:
            bench.check_completed(export_id)

    async def test_a_window_that_fails_three_times_is_halved_and_the_chain_has_no_gap(self) -> None:
        bench = a_bench()
        async with bench.living():
            await until_told(bench, "export_completed")
            bench.mews.answers = [ExportStatus.FAILED for _ in range(3)]
            await until_told(bench, "export_completed", 3)
        failed = windows(bench)[:3]
        assert {window.start for window in failed} == {failed[0].start}
        assert failed[0].end <= failed[1].end <= failed[2].end
        halved, after = windows(bench)[3:5]
        assert halved.start == failed[0].start
        assert halved.end == halved.start + timedelta(minutes=10) + max(
            timedelta(minutes=15), (failed[2].end - failed[2].start - timedelta(minutes=10)) / 2
        )
        assert after.start == halved.end - timedelta(minutes=10)

    async def test_an_account_that_may_not_filter_gets_snapshots_only(self) -> None:
        bench = a_bench()
        async with bench.living():
            await until_told(bench, "export_completed")
            bench.mews.adds = [AddRejectedError("Invalid Filters")]
            await until_told(bench, "export_completed", 2)
            assert bench.clock.monotonic() > INTERVAL.total_seconds()
            assert len(windows(bench)) == 1
            # Whoever knows better now may ask for a try.
            await bench.signal(WindowNow())
            await until_told(bench, "export_completed", 3)
        assert windows(bench)[1].start == windows(bench)[0].start
        assert [e["kind"] for e in bench.events if e["event"] == "export_completed"] == [
            "snapshot",
            "snapshot",
            "window",
        ]
        assert bench.checkpoint.filters_refused_at is None

    async def test_a_message_about_a_running_export_is_no_refusal_of_filters_unless_it_never_ends(self) -> None:
        bench = a_bench()
        both = AddRejectedError("an export with these Filters is already running")
        async with bench.living():
            await until_told(bench, "export_completed")
            bench.mews.adds = [both for _ in range(200)]
            await until_told(bench, "export_blocked")
            assert bench.checkpoint.filters_refused_at is None
            await bench.until(lambda: bench.checkpoint.filters_refused_at is not None)
            bench.mews.adds = []
            blocked = bench.times("requesting")
        assert blocked[-1] - blocked[0] > BLOCKED_LIMIT.total_seconds()

    async def test_after_a_restart_mews_is_asked_for_the_time_before_a_window_is_cut(self) -> None:
        bench = a_bench()
        bench.is_mortal = True
        async with bench.living():
            await until_told(bench, "export_completed")
            bench.mews.is_heard = False
            fetches = bench.mews.fetches
            await until_told(bench, "export_completed", 2)
        assert bench.mews.fetches > fetches
        assert len(windows(bench)) == 1

    async def test_without_a_date_in_any_answer_there_is_no_window_and_the_log_says_why(self) -> None:
        bench = a_bench()
        bench.mews.now = lambda: None
        async with bench.living():
            await until_told(bench, "export_completed")
            await asyncio.sleep(3600)
        assert not windows(bench)
        assert b'streamer_retries_total{connection="alpine",entity_type="Bill",reason="RetriableError"}' in (
            b"".join(bench.metrics.parts())
        )


class TestSignals:
    async def test_signals_are_heeded_in_order_and_a_bad_one_holds_nothing_up(self) -> None:
        bench = a_bench()
        await bench.signal(Pause(), key="*")
        await bench.signal(b"nonsense")
        await bench.signal(Pause(), key="alpine/Reservation")
        await bench.signal(Resume())
        async with bench.living():
            await until_told(bench, "export_completed")
        assert answers(bench) == ["signal_applied", "signal_rejected", "signal_applied"]
        assert bench.checkpoint.next_signal == 4

    async def test_a_paused_stream_leaves_its_export_at_a_block_and_goes_on_where_it_was(self) -> None:
        bench = a_bench()
        bench.host.chunk_size = 24
        bench.host.pauses = {("part-0.jsonl", 48): 3.0}
        async with bench.living():
            await bench.until(
                lambda: any(isinstance(c.state, Publishing) and c.state.counts.lines for c in bench.checkpoints)
            )
            await bench.signal(Pause())
            await until_told(bench, "signal_applied")
            published = len(bench.kafka.committed(BILLS))
            await asyncio.sleep(3600)
            assert len(bench.kafka.committed(BILLS)) == published < 10
            assert bench.checkpoint.paused
            await bench.signal(Resume())
            await until_told(bench, "export_completed")
        bench.check_completed("e1")

    async def test_a_stalled_download_does_not_keep_a_pause_waiting(self) -> None:
        bench = a_bench()
        bench.host.pauses = {("part-0.jsonl", 0): 50.0}
        async with bench.living():
            await bench.until_publishing()
            before = bench.clock.monotonic()
            await bench.signal(Pause())
            await until_told(bench, "signal_applied")
            assert bench.clock.monotonic() - before < 10.0
            await bench.signal(Resume())
            await until_told(bench, "export_completed")
        bench.check_completed("e1")

    async def test_other_signals_leave_an_export_alone_and_take_effect_meanwhile(self) -> None:
        bench = a_bench()
        bench.host.pauses = {("part-0.jsonl", 0): 50.0}
        async with bench.living():
            await bench.until_publishing()
            opened = len(bench.host.opened)
            await bench.signal(LetTombstonesThrough())
            await until_told(bench, "signal_applied")
            await until_told(bench, "export_completed")
            assert len(bench.host.opened) == opened == 1, "the download went on"
        told = bench.told
        assert told.index("signal_applied") < told.index("export_completed")
        bench.check_completed("e1")

    async def test_an_abandoned_export_is_followed_by_a_new_one(self) -> None:
        bench = a_bench()
        bench.host.pauses = {("part-0.jsonl", 0): 50.0}
        async with bench.living():
            await bench.until_publishing()
            await bench.signal(AbandonExport())
            await until_told(bench, "export_completed")
        failed = next(e for e in bench.events if e["event"] == "export_failed")
        assert (failed["export_id"], failed["reason"]) == ("e1", "abandoned by a signal")
        bench.check_completed("e2")

    @pytest.mark.parametrize("signal", [Pause(), AbandonExport()])
    async def test_a_block_that_is_gathered_already_stays_out_after_a_signal(self, signal: Signal) -> None:
        bench = a_bench()
        bench.kafka.commit_seconds = 1.0
        async with bench.living():
            await bench.until_publishing()
            # While the first block is being committed, and the second one is in hand.
            await bench.signal(signal)
            await until_told(bench, "signal_applied")
            await asyncio.sleep(30)
            assert len([r for r in bench.kafka.committed(BILLS) if r.ce_id.startswith("e1/")]) == 4
            await bench.signal(Resume())
            await until_told(bench, "export_completed")
        bench.check_completed(bench.mews.added[-1])

    async def test_a_stopped_stream_tries_again_at_once(self) -> None:
        bench = a_bench()
        bench.mews.adds = [AccessRefusedError("401")]
        async with bench.living():
            await bench.until(lambda: bench.checkpoint.phase == "stopped")
            await bench.signal(Retry())
            await until_told(bench, "export_completed")
            assert bench.clock.monotonic() < 3600
        bench.check_completed("e1")

    async def test_a_lost_id_is_adopted_and_published_as_if_it_had_never_been_lost(self) -> None:
        bench = a_bench()
        bench.mews.adds = [MewsUnavailableError("reset"), *(AddRejectedError("already running") for _ in range(100))]
        async with bench.living():
            await until_told(bench, "export_blocked")
            await bench.signal(AdoptExport(STRANGE))
            await until_told(bench, "export_completed")
            assert bench.clock.monotonic() < 1800
        bench.check_completed(STRANGE)

    @pytest.mark.parametrize(
        "export",
        [
            Export(ExportId(STRANGE), ExportStatus.SUCCESS, entity_type=EntityType.PAYMENT.value),
            Export(ExportId(STRANGE), ExportStatus.PENDING, window=Window(SERVER_START, SERVER_START)),
        ],
        ids=["type", "window"],
    )
    async def test_an_adopted_export_of_something_else_is_given_up_before_a_line_of_it(self, export: Export) -> None:
        bench = a_bench()
        bench.mews.adds = [AddRejectedError("already running") for _ in range(100)]
        async with bench.living():
            await until_told(bench, "export_blocked")
            bench.mews.answers = [export]
            await bench.signal(AdoptExport(STRANGE))
            await until_told(bench, "export_failed")
            bench.mews.adds = []
        assert "the adopted export is" in next(e for e in bench.events if e["event"] == "export_failed")["reason"]
        assert not bench.kafka.committed(BILLS)

    async def test_an_answer_that_comes_while_a_signal_moves_the_checkpoint_is_not_lost(self) -> None:
        bench = a_bench()
        bench.mews.hold = asyncio.Event()
        async with bench.living():
            await bench.until(lambda: bench.mews.add_calls == 1)
            assert bench.session is not None
            bench.session.lost.set()
            await bench.signal(LetTombstonesThrough())
            bench.mews.hold.set()
            await until_told(bench, "export_completed")
        assert bench.told[0] == "signal_applied"
        assert bench.mews.add_calls == 1

    @pytest.mark.parametrize("signal", [WindowNow(), SnapshotNow()])
    async def test_a_wanted_export_that_fails_goes_on_being_wanted(self, signal: Signal) -> None:
        bench = Bench((LINES,), once=False, update_interval=None)
        async with bench.living():
            await until_told(bench, "export_completed")
            # Until there is something that a window could bring.
            await asyncio.sleep(900)
            bench.mews.answers = [ExportStatus.FAILED]
            await bench.signal(signal)
            await until_told(bench, "export_completed", 2)
            assert bench.clock.monotonic() < 3600
        assert bench.told.count("export_failed") == 1

    async def test_once_ends_with_a_paused_stream_as_it_is(self) -> None:
        bench = Bench((LINES,))
        await bench.signal(Pause())
        await bench.live()
        assert bench.stream.done is not None
        assert bench.stream.done.paused
        assert bench.mews.add_calls == 0
