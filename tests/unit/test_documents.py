"""What the documents say of the code, held against the code."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from streamer import __version__

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_reference_of_the_settings_is_what_the_code_makes() -> None:
    made = runpy.run_path(str(ROOT / "scripts/document_configuration.py"))["reference"]()
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == made, "scripts/document writes it anew"


def test_the_map_of_files_names_what_there_is_and_leaves_out_no_package() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("## File map")[2]
    named = set(re.findall(r"`((?:streamer|tests|benchmarks|deploy|scripts|docs|kernel)/[^`]*)`", text))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    packages = {f"streamer/{folder.parent.name}/" for folder in (ROOT / "streamer").glob("*/__init__.py")}
    assert packages <= named


def test_links_between_the_documents_lead_somewhere() -> None:
    pages = [*DOCS.glob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_image_is_made_of_the_pins_that_everything_is_tested_with() -> None:
    def pins(path: str) -> set[str]:
        # Without the markers, which differ by what else needs the package.
        return set(re.findall(r"^([A-Za-z0-9._-]+==[^\s;\\]+)", (ROOT / path).read_text(), re.MULTILINE))

    tested = pins("constraints.txt")
    for path in ("deploy/requirements.txt", "deploy/requirements-build.txt"):
        assert pins(path)
        assert pins(path) <= tested, f"{path}: scripts/lock writes it anew"


def test_the_chart_is_of_the_version_of_the_program() -> None:
    chart = (ROOT / "deploy/helm/streamer/Chart.yaml").read_text(encoding="utf-8")
    assert f'appVersion: "{__version__}"' in chart
