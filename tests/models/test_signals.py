"""A signal takes effect once, whatever befalls the transaction that heeds it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streamer.core.signals import SnapshotNow
from streamer.core.states import Publishing
from tests.memory_kafka import Trouble
from tests.unit.service.life_bench import Bench

LINES = b"".join(b'{"Id":"%02d"}\n' % n for n in range(10))


async def until_told(bench: Bench, event: str, times: int = 1) -> None:
    await bench.until(lambda: bench.told.count(event) >= times, every=5.0, limit=1e5)


@pytest.mark.parametrize("trouble", [None, *Trouble])
async def test_a_signal_takes_effect_once_whatever_befalls_its_transaction(trouble: Trouble | None) -> None:
    bench = Bench((LINES,), once=False, update_interval=timedelta(minutes=15))
    bench.is_mortal = True
    async with bench.living():
        await until_told(bench, "export_completed")
        if trouble is not None:
            bench.kafka.troubles[bench.kafka.transactions + 1] = trouble
        await bench.signal(SnapshotNow(changes_only=False))
        await until_told(bench, "signal_applied")
        await until_told(bench, "export_completed", 4)
    assert [told for told in bench.told if told.startswith("signal_")] == ["signal_applied"]
    kinds = [e["kind"] for e in bench.events if e["event"] == "export_completed"]
    assert kinds[:4] == ["snapshot", "snapshot", "window", "window"]
    anew = [c.state.request.changes_only for c in bench.checkpoints if isinstance(c.state, Publishing)]
    assert False in anew
    assert bench.checkpoint.wanted_snapshot is None
