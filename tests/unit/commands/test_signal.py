"""What `streamer signal` writes, and what it refuses before anybody hears it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from streamer.cli import cli
from streamer.config import Config
from streamer.core.checkpoint import Checkpoint
from streamer.core.signals import NAMES, AdoptExport, Pause, Retire, Signal, SnapshotNow
from streamer.kafka.checkpoints import Entry
from streamer.model import Shard
from tests.unit.cases import cases
from tests.unit.test_cli import CONFIG, TOKENS

ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
STREAM = "alpine/Reservation"

Invoke = Callable[..., Result]


@pytest.fixture
def written() -> list[tuple[str, Signal]]:
    return []


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, Signal]]) -> Iterator[Invoke]:
    async def write_signal(_config: Config, key: str, signal: Signal) -> int:
        written.append((key, signal))
        return 7

    @asynccontextmanager
    async def stream_table(_config: Config) -> AsyncIterator[Mapping[str, Entry]]:
        yield {"old/Bill": Entry(Shard(1), Checkpoint())}

    monkeypatch.setattr("streamer.kafka.signals.write_signal", write_signal)
    monkeypatch.setattr("streamer.service.looking.stream_table", stream_table)
    (tmp_path / "config.toml").write_text(CONFIG)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["signal", *arguments, "--config", str(tmp_path / "config.toml")], env=TOKENS)

    yield run
    structlog.reset_defaults()


def test_each_signal_can_be_written(invoke: Invoke, written: list[tuple[str, Signal]]) -> None:
    extra = {"adopt_export": ["--export-id", ID], "erase": ["--id", "c1"], "retire": ["--repeat", "old/Bill"]}
    for name in NAMES:
        if name == "replay":
            continue
        key = "old/Bill" if name == "retire" else STREAM
        result = invoke(name, key, *extra.get(name, []))
        assert result.exit_code == 0, result.stderr
        assert "at offset 7" in result.stdout
    assert len(written) == len(NAMES) - 1


@cases(
    ("arguments", "expected"),
    [
        (["pause", "*"], ("*", Pause())),
        (["snapshot_now", STREAM], (STREAM, SnapshotNow())),
        (["snapshot_now", STREAM, "--everything"], (STREAM, SnapshotNow(changes_only=False))),
        (["adopt_export", STREAM, "--export-id", ID], (STREAM, AdoptExport(ID))),
        (["retire", "old/Bill", "--repeat", "old/Bill"], ("old/Bill", Retire("old/Bill"))),
        (
            ["retire", "old/Bill", "--repeat", "old/Bill", "--no-shared-keys"],
            ("old/Bill", Retire("old/Bill", shared_keys=False)),
        ),
    ],
)
def test_options_become_those_of_the_signal(
    invoke: Invoke, written: list[tuple[str, Signal]], arguments: list[str], expected: tuple[str, Signal]
) -> None:
    written.clear()
    assert invoke(*arguments).exit_code == 0
    assert written == [expected]


@cases(
    ("arguments", "message"),
    [
        (["pause", "alpine/Reservations"], 'no stream "alpine/Reservations"; did you mean "alpine/Reservation"?'),
        (["explode", STREAM], "'explode' is not one of"),
        (["pause", STREAM, "--everything"], "--everything is for snapshot_now"),
        (["adopt_export", STREAM], "--export-id has to name an export"),
        (["adopt_export", STREAM, "--export-id", "x"], "--export-id has to name an export"),
        (["retire", STREAM, "--repeat", STREAM], "still configured"),
        (["retire", "*", "--repeat", "*"], "still configured"),
        (["retire", "old/Bill"], "if so: --repeat old/Bill"),
        (["retire", "old/Bill", "--repeat", "old/Bills"], "if so: --repeat old/Bill"),
    ],
)
def test_a_mistake_is_told_before_anybody_hears_it(
    invoke: Invoke, written: list[tuple[str, Signal]], arguments: list[str], message: str
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not written


def test_what_was_never_at_work_is_not_retired(invoke: Invoke, written: list[tuple[str, Signal]]) -> None:
    result = invoke("retire", "odd/Bill", "--repeat", "odd/Bill")
    assert result.exit_code == 1
    assert 'no stream "odd/Bill" was ever at work; did you mean "old/Bill"?; nothing was written' in result.stderr
    assert not written
