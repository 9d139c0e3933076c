"""The settings of a daemon that is a process of its own: the file that it reads, from plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

Table = Mapping[str, object]


def settings_file(*, kafka: Table, topics: Table, exports: Table, connections: Sequence[Table], port: int = 0) -> str:
    """The file's text. The probes listen on the loopback only, with ``port`` 0 on one that is free."""
    http = {"host": "127.0.0.1", "port": port}
    tables = [("[kafka]", kafka), ("[topics]", topics), ("[exports]", exports), ("[http]", http)]
    tables += [("[[connections]]", connection) for connection in connections]
    return "\n".join(line for head, table in tables for line in (head, *_lines(table), ""))


def _lines(table: Table) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in table.items()]


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_value(inner)}" for name, inner in value.items()) + "}"
    # All else that settings hold, TOML takes as JSON has it.
    return json.dumps(value)
