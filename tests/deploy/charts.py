"""The chart, and what the real helm makes of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/streamer"
KUBERNETES = "1.33.0"
"""What is rendered for, unless a test says otherwise: helm that is built by Go alone takes a cluster to be ancient."""

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


class RefusedError(AssertionError):
    """The chart makes nothing of these values; says why."""


def rendered(helm: Path, values: Path, *changes: str, kubernetes: str = KUBERNETES) -> list[Manifest]:
    """Manifests that the chart makes of a file of values and of further ``--set`` ones. Raises ``RefusedError``."""
    command = [str(helm), "template", "demo", str(CHART), "--kube-version", kubernetes, "--values", str(values)]
    finished = subprocess.run(
        [*command, *(part for change in changes for part in ("--set", change))],
        check=False,
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        raise RefusedError(finished.stderr)
    return [manifest for manifest in yaml.safe_load_all(finished.stdout) if manifest]
