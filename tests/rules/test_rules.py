"""The alert rules as Prometheus itself reads them; `scripts/programs rules` fetches its promtool."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
RULES = "../../deploy/prometheus/streamer.rules.yaml"
KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamer" / "programs"


def promtool(*arguments: str) -> str:
    found = shutil.which("promtool", path=f"{KEPT}{os.pathsep}{os.environ['PATH']}")
    assert found, "no promtool here: scripts/programs rules"
    done = subprocess.run([found, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [("check", "rules", RULES), ("test", "rules", "streamer.test.yaml")])
def test_prometheus_takes_the_rules_and_they_fire_when_they_should(arguments: tuple[str, ...]) -> None:
    assert "SUCCESS" in promtool(*arguments)
