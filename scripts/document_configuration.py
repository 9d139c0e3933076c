"""Writes docs/configuration.md anew from the settings' own structs; run by `scripts/document`.

What is said of a key is the text under its field in the code, so that the two can't part.
"""

from __future__ import annotations

import ast
import enum
import inspect
import itertools
import re
import sys
import textwrap
import types
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from streamer.config import Config
from streamer.model import Secret

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "configuration.md"

_OPENING = """\
# Configuration

One TOML file: `--config FILE`, else `STREAMER_CONFIG`, else `config.toml`. Every key has its default in the code; what
must be set are connections, and brokers that are not on this machine.
[config.example.toml](../config.example.toml) is a file to start from. This page is made from the code by
`scripts/document`; a test compares.

- **Durations** are text: `"500ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`.
- **Secrets** are never written in the file but named: `{ env = "NAME" }` or `{ file = "path" }`. Files are read again
  when they change, within seconds and without a restart, but for the keys of hashes; so are certificates.
- **Paths** start at the folder of the file.
- **The environment wins**: `STREAMER_<SECTION>_<KEY>`, such as `STREAMER_KAFKA_BOOTSTRAP_SERVERS=a:9092,b:9092`, for
  the keys of `[kafka]`, `[topics]` (but for `config`), `[exports]` and `[http]`.
- **A mistake** (an unknown key, a wrong type, a missing secret) is one sentence with the path of the key, and exit code
  2. `streamer check` tells the rest.
"""


def reference() -> str:
    """The whole page."""
    hints = get_type_hints(Config, include_extras=True)
    sections = [_OPENING]
    for field in msgspec.structs.fields(Config):
        kind, written = _struct_of(hints[field.name])
        said = (inspect.getdoc(kind) or "").partition("\n\n")[0]
        sections.append(f"## `{written.format(field.name)}`\n\n{_markdown(said)}\n\n{_table(kind)}")
    return "\n".join(sections)


def _table(kind: type[msgspec.Struct]) -> str:
    hints = get_type_hints(kind, include_extras=True)
    said = _texts(kind)
    rows = [
        f"| `{field.name}` | {_kind(hints[field.name])} | {_default(field)} | {_markdown(said.get(field.name, ''))} |"
        for field in msgspec.structs.fields(kind)
    ]
    return "\n".join(["| key | value | default | |", "| --- | --- | --- | --- |", *rows]) + "\n"


def _texts(kind: type) -> dict[str, str]:
    """The text under each field."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    found: dict[str, str] = {}
    for before, after in itertools.pairwise(body):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr):
            found[before.target.id] = inspect.cleandoc(ast.literal_eval(after.value))
    return found


def _struct_of(hint: Any) -> tuple[type[msgspec.Struct], str]:
    """The struct of a section, and how its table is written."""
    hint = _bare(hint)
    if get_origin(hint) is tuple:
        return get_args(hint)[0], "[[{}]]"
    if get_origin(hint) is dict:
        return get_args(hint)[1], "[{}.<Type>]"
    return hint, "[{}]"


def _kind(hint: Any) -> str:
    """What may stand there, in words."""
    hint = _bare(hint)
    if get_origin(hint) is Literal:
        return ", ".join(f'`"{word}"`' for word in get_args(hint))
    if get_origin(hint) is tuple:
        return f"list of {_kind(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return "table"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "entity type"
    names = {
        bool: "true or false",
        int: "number",
        float: "number",
        str: "text",
        timedelta: "duration",
        Path: "path",
        Secret: "secret",
    }
    return names.get(hint, "text")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "**required**"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    match value:
        case None:
            return '`"off"`' if _bare(field.type) is timedelta else ""
        case timedelta():
            return f'`"{_duration(value)}"`'
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f"`{msgspec.json.encode(value).decode()}`".replace("|", "\\|") if value else ""
        case tuple() if value and isinstance(value[0], enum.Enum):
            return f"{len(value)} types"
        case tuple():
            return f"`{msgspec.json.encode(value).decode()}`" if value else ""
        case dict():
            return ""
        case _:
            return f"`{value:_}`"


def _duration(value: timedelta) -> str:
    milliseconds = round(value.total_seconds() * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _bare(hint: Any) -> Any:
    """``X`` of ``Annotated[X, …]`` and of ``X | None``."""
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return _bare(next(arg for arg in get_args(hint) if arg is not type(None)))
    return hint


def _markdown(text: str) -> str:
    """One line of Markdown from a docstring."""
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split())).replace("|", "\\|")


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
    print(f"document: wrote {REFERENCE.relative_to(ROOT)}", file=sys.stderr)
