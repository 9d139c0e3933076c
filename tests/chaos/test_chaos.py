"""Two minutes of chaos with what comes before and after: every kind of trouble at once, and then the proof.

How much happens in two minutes is up to the machine, so little of it is asked for here; ``docs/reliability.md`` tells
of runs that were long.

``STREAMER_TEST_CHAOS_SEED`` and ``STREAMER_TEST_CHAOS_MINUTES`` choose another run; ``scripts/soak`` does it for long.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.chaos.schedule import Instant
from tests.chaos.stage import ENTITY_TYPES
from tests.daemon import ROOT

# Here, because no setting of the machine reaches a test.
SEED = os.environ.get("STREAMER_TEST_CHAOS_SEED") or "1"
MINUTES = os.environ.get("STREAMER_TEST_CHAOS_MINUTES") or "2"


async def test_nothing_is_lost_or_doubled_or_told(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    # A process of its own: what goes wrong in it is no exception of this one, and its exit code is part of the test.
    # Exports that even a busy machine completes between two strikes.
    options = ("--entities", "6000", "--seed", SEED, "--minutes", MINUTES)
    files = ("--json", str(figures), "--keep", str(tmp_path / "kept"))
    print(f"STREAMER_TEST_CHAOS_SEED={SEED} STREAMER_TEST_CHAOS_MINUTES={MINUTES}")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.chaos", *options, *files),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    print(said.decode())
    assert process.returncode == 0
    report = json.loads(figures.read_text())
    verdict = report["verdict"]
    assert (verdict["lost"], verdict["doubled"], verdict["differing"], verdict["secrets"]) == (0, 0, 0, [])
    # It was not for nothing.
    assert verdict["completed"] >= len(ENTITY_TYPES)
    assert verdict["records"] > 0
    assert sum(report["http"].values()) >= 5
    assert sum(report["brokers"].values()) >= 1
    assert sum(sum(counts.values()) for counts in report["strikes"].values()) >= 10
    assert sum(sum(report["strikes"][instant].values()) for instant in Instant) >= 1
