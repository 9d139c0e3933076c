"""The real helm: where scripts/programs puts it, or any other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.deploy.charts import Render, rendered


@pytest.fixture(scope="session")
def helm(machine: Mapping[str, str]) -> Path:
    """The program."""
    kept = Path(machine.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamer" / "programs"
    found = shutil.which("helm", path=os.pathsep.join((str(kept), machine.get("PATH", ""))))
    assert found, "the tests of the chart need helm: scripts/programs deploy"
    return Path(found)


@pytest.fixture(scope="session")
def render(helm: Path) -> Render:
    """What the chart makes of values."""
    return partial(rendered, helm)
