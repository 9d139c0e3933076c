"""Two minutes of chaos with what comes before and after: every kind of trouble at once, and then the proof.

``STREAMER_TEST_CHAOS_SEED`` and ``STREAMER_TEST_CHAOS_MINUTES`` choose another run; ``scripts/soak`` does it for long.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.chaos.schedule import Instant
from tests.daemon import ROOT

# Here, because no setting of the machine reaches a test.
SEED = os.environ.get("STREAMER_TEST_CHAOS_SEED") or "1"
MINUTES = os.environ.get("STREAMER_TEST_CHAOS_MINUTES") or "2"


async def test_nothing_is_lost_or_doubled_or_told(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    # A process of its own: what goes wrong in it is no exception of this one, and its exit code is part of the test.
    options = ("--seed", SEED, "--minutes", MINUTES, "--json", str(figures), "--keep", str(tmp_path / "kept"))
    print(f"STREAMER_TEST_CHAOS_SEED={SEED} STREAMER_TEST_CHAOS_MINUTES={MINUTES}")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.chaos", *options),
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
    assert verdict["completed"] >= 10
    assert verdict["records"] >= 100_000
    assert sum(report["http"].values()) >= 50
    assert sum(report["brokers"].values()) >= 1
    assert sum(sum(report["strikes"][instant].values()) for instant in Instant) >= 5
