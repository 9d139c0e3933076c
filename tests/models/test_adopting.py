"""An export whose id was lost, and is told by a person, answers the request that is blocked: as far as it goes."""

from __future__ import annotations

from datetime import timedelta

from streamer.core.signals import AdoptExport
from streamer.errors import AddRejectedError, MewsUnavailableError
from streamer.model import EntityType, ExportId, Window
from tests.models.test_windows_and_signals import STRANGE, a_bench, until_told, windows


async def test_a_lost_id_of_a_window_is_adopted_though_the_windows_end_has_moved_on() -> None:
    """Each try asks for a later end than the one before; the export that runs has that of the first."""
    bench = a_bench()
    async with bench.living():
        await until_told(bench, "export_completed")
        bench.mews.adds = [
            MewsUnavailableError("reset"),
            *(AddRejectedError("already running") for _ in range(100)),
        ]
        await bench.until(lambda: len(windows(bench)) == 10)
        first, *_, last = windows(bench)
        assert first.end < last.end
        bench.mews.know(ExportId(STRANGE), EntityType.BILL, first)
        await bench.signal(AdoptExport(STRANGE))
        await until_told(bench, "export_completed", 2)
        assert bench.checkpoint.covered_to == first.end
        bench.mews.adds = []
        await until_told(bench, "export_completed", 3)
    assert "export_failed" not in bench.told
    assert [e["export_id"] for e in bench.events if e["event"] == "export_completed"][1] == STRANGE
    # Nothing between the end of the adopted one and that of the last try is left out.
    assert windows(bench)[-1].start == first.end - timedelta(minutes=10)


async def test_what_mews_tells_of_the_window_of_our_own_export_changes_nothing() -> None:
    bench = a_bench()
    async with bench.living():
        await until_told(bench, "export_completed")
        await bench.until(lambda: len(bench.mews.added) == 2)
        (asked,) = windows(bench)
        bench.mews.know(bench.mews.added[1], EntityType.BILL, Window(asked.start, asked.end - timedelta(minutes=1)))
        await until_told(bench, "export_completed", 2)
        assert bench.checkpoint.covered_to == asked.end
