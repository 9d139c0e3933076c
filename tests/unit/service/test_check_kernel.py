"""What `streamer check` says of how lines are gathered."""

from __future__ import annotations

from pathlib import Path

from streamer.service.check import Verdict, gathering
from tests.unit.config_files import CONNECTION, load


def test_it_tells_whether_the_kernel_is_in_use(tmp_path: Path) -> None:
    auto = load(tmp_path, CONNECTION)
    off = load(tmp_path, '[exports]\nkernel = "off"\n' + CONNECTION)
    validated = load(tmp_path, '[exports]\nvalidate = "warn"\n' + CONNECTION)
    told = [
        gathering(auto, has_kernel=True),
        gathering(auto, has_kernel=False),
        gathering(off, has_kernel=True),
        gathering(validated, has_kernel=True),
    ]
    assert {finding.verdict for finding in told} == {Verdict.OK}
    assert [finding.result.split(";")[0] for finding in told] == ["in use", "not installed", "off", "installed"]
