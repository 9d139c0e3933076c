"""The examples as processes, and what each of them ends with."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tests.daemon import PATIENCE, ROOT

State = dict[str, Any]
"""Entities by their Id."""


class Consumer:
    """One example, started as its README says; ``state`` reads what it has made so far, None before there is any."""

    def __init__(self, name: str, command: list[str], *, log: Path, state: Callable[[], State]) -> None:
        self.name = name
        self._command = command
        self._log = log
        self.state = state
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def said(self) -> str:
        return self._log.read_text()

    async def until(self, condition: Callable[[State], bool], what: str) -> None:
        """Look at its state until the condition holds."""
        deadline = time.monotonic() + 2 * PATIENCE  # six consumers at once, one of them in a JVM
        while True:
            state = await asyncio.to_thread(self.state)
            if condition(state):
                return
            assert self._process is not None
            assert self._process.poll() is None, f"{self.name} ended:\n{self.said()}"
            assert time.monotonic() < deadline, f"{self.name}: {what}; it has {len(state)}\n{self.said()}"
            await asyncio.sleep(0.2)


def program(example: str, name: str, *arguments: str) -> list[str]:
    """The command that starts a program of an example."""
    return [sys.executable, str(ROOT / "examples" / example / name), *arguments]


def entities_in(lines: Sequence[bytes]) -> State:
    return {entity["Id"]: entity for entity in map(json.loads, lines)}


def state_of_file(file: Path) -> State:
    return entities_in(file.read_bytes().split(b"\n")[:-1]) if file.exists() else {}


def state_of_sqlite(file: Path) -> State:
    if not file.exists():
        return {}
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return entities_in([row[0] for row in database.execute("SELECT json FROM reservation")])
    except sqlite3.OperationalError:  # no table yet, or just being written to
        return {}
    finally:
        database.close()


def state_of_postgresql(url: str) -> State:
    with psycopg.connect(url) as connection:
        try:
            return {str(id_): entity for id_, entity in connection.execute("SELECT id, entity FROM reservation")}
        except psycopg.errors.UndefinedTable:
            return {}


def state_of_parquet(folder: Path) -> State:
    """By the very query that the README has."""
    if not list(folder.glob("*.parquet")):
        return {}
    readme = (ROOT / "examples" / "duckdb_parquet" / "README.md").read_text()
    query = readme.partition("```sql\n")[2].partition(";\n```")[0]
    query = query.replace("entity->>'State' AS state, entity->>'UpdatedUtc' AS updated_utc", "entity")
    query = query.replace("reservations/*.parquet", f"{folder}/*.parquet")
    with duckdb.connect() as database:
        return {id_: json.loads(entity) for id_, entity in database.execute(query).fetchall()}
