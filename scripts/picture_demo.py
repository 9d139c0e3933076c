"""Writes docs/pictures/demo.svg anew from a real run of the demo; run by `scripts/picture`.

What it shows is the last screen of that run, as rich exports it.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.terminal_theme import MONOKAI

from streamer.sandbox.demo import Demo, DemoOptions
from streamer.sandbox.demo_view import draw

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "demo.svg"
COLUMNS = 100
ENTITIES, KILLS = 4000, 2

# Without the fonts that it would have fetched: a picture in a README asks nobody else for anything.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


async def picture() -> str:
    """The picture of one run. Raises ``FatalError`` where the run fails."""
    demo = Demo(
        DemoOptions(entities=ENTITIES, seed=1, kills=KILLS, keep=False),
        Console(file=io.StringIO(), force_terminal=True, width=COLUMNS, highlight=False),
    )
    said: list[RenderableType] = []
    vars(demo.screen)["say"] = lambda words="": said.append(words)
    if await demo.run():
        raise SystemExit("the demo has found something wrong, so there is no picture of it")
    paper = Console(record=True, file=io.StringIO(), force_terminal=True, width=COLUMNS, highlight=False)
    for words in (draw(demo.screen.picture, COLUMNS), *said):
        paper.print(words, markup=False)
    return paper.export_svg(title=f"scripts/demo --kill {KILLS}", theme=MONOKAI, code_format=FORMAT)


if __name__ == "__main__":
    PICTURE.write_text(asyncio.run(picture()), encoding="utf-8")
    print(f"picture: wrote {PICTURE.name}", file=sys.stderr)
