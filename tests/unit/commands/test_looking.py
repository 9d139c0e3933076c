"""What `check`, `plan` and `status` print, for people and for programs, over a table that is given."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import structlog
from click.testing import CliRunner, Result
from msgspec import structs

from streamer.cli import cli
from streamer.commands.tables import duration, size
from streamer.config import Config
from streamer.core.checkpoint import Checkpoint, Completed, Erased, LastError
from streamer.core.states import Counts, FileList, Idle, Position, Publishing, Request, Stopped
from streamer.errors import KafkaUnavailableError
from streamer.kafka.checkpoints import Entry
from streamer.model import ExportId, ExportKind, Shard
from streamer.service.check import Finding, Verdict
from tests.unit.test_cli import CONFIG, TOKENS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPORT = ExportId("6a3c5f2e-0000-4000-8000-000000000001")
REQUEST = Request(cycle=1, kind=ExportKind.SNAPSHOT, requested_at=NOW - timedelta(minutes=1))
DONE = Completed(
    export_id=EXPORT, requested_at=NOW - timedelta(hours=2), completed_at=NOW, counts=Counts(lines=1234, records=1234)
)
PUBLISHING = Publishing(
    request=REQUEST,
    export_id=EXPORT,
    ready_at=NOW,
    files=FileList(count=4, size=20_000_000, digest="d"),
    position=Position(file=1, offset=10, name="b", size=5_000_000),
    counts=Counts(size=5_000_000, lines=10, records=10),
)
STOPPED = Stopped(reason="refused", since=NOW, look_at=NOW + timedelta(hours=1), before=Idle())

Invoke = Callable[..., Result]
Table = dict[str, Entry]


@pytest.fixture
def entries() -> Table:
    """The checkpoints that the commands find."""
    return {
        "alpine/Reservation": entry(Checkpoint(state=PUBLISHING, owner="host/1/a")),
        "alpine/Customer": entry(Checkpoint(state=Idle(), snapshot=DONE)),
    }


def entry(checkpoint: Checkpoint | None, problem: str = "") -> Entry:
    return Entry(shard=Shard(0), checkpoint=checkpoint, problem=problem)


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: Table) -> Iterator[Invoke]:
    @asynccontextmanager
    async def stream_table(_: Config) -> AsyncIterator[Mapping[str, Entry]]:
        yield entries

    async def replicas(_: Config) -> int:
        return 2

    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("streamer.service.looking.stream_table", stream_table)
    monkeypatch.setattr("streamer.service.planning.stream_table", stream_table)
    monkeypatch.setattr("streamer.kafka.cluster.replicas_at_work", replicas)
    monkeypatch.setattr("streamer.service.clock.utc_now", lambda: NOW)
    yield lambda *arguments: CliRunner(env=TOKENS).invoke(cli, arguments, prog_name="streamer")
    structlog.reset_defaults()


def line_of(result: Result, stream: str) -> str:
    (line,) = [line for line in result.stdout.splitlines() if line.startswith(stream)]
    return " ".join(line.split())


# --- status ---------------------------------------------------------------------------------------------------


def test_status_has_a_line_for_every_stream_with_how_far_it_is(invoke: Invoke) -> None:
    result = invoke("status")
    assert result.exit_code == 0, result.stderr
    assert line_of(result, "alpine/Reservation") == "alpine/Reservation publishing 25% of 20.0 MB, file 2 of 4"
    assert line_of(result, "alpine/Customer") == "alpine/Customer idle 2h 0m 1,234 records, 2026-03-01 12:00:00Z"
    assert line_of(result, "seaside/Bill") == "seaside/Bill idle"
    assert "2 replica(s) at work" in result.stdout


def test_status_is_1_where_a_stream_waits_for_a_person_and_says_why(invoke: Invoke, entries: Table) -> None:
    error = LastError(at=NOW, message="Mews refuses the token access-canary")
    entries["alpine/OrderItem"] = entry(Checkpoint(state=STOPPED, error=error))
    result = invoke("status")
    assert result.exit_code == 1
    assert line_of(result, "alpine/OrderItem").endswith("Mews refuses the token *** (2026-03-01 12:00:00Z)")
    assert invoke("status", "-t", "Reservation").exit_code == 0
    entries["alpine/OrderItem"] = entry(None, problem="checkpoint of version 9")
    result = invoke("status", "-c", "alpine")
    assert result.exit_code == 1
    assert line_of(result, "alpine/OrderItem") == "alpine/OrderItem unreadable checkpoint of version 9"


def test_status_for_programs_is_one_line_of_json(invoke: Invoke) -> None:
    told = json.loads(invoke("status", "--json", "-t", "reservation").stdout)
    assert told["replicas"] == 2
    assert [row["stream"] for row in told["streams"]] == ["alpine/Reservation", "seaside/Reservation"]
    assert told["streams"][0]["export"]["bytes_total"] == 20_000_000


def test_status_tells_how_many_erased_entities_a_stream_keeps_out(invoke: Invoke, entries: Table) -> None:
    erased = {name: Erased(at=NOW, by="m") for name in ("one", "two", "three")}
    done = msgspec.structs.replace(DONE, counts=Counts(lines=1236, records=1234, erased=2))
    entries["alpine/Customer"] = entry(Checkpoint(snapshot=done, erased=erased))
    entries["seaside/Bill"] = entry(Checkpoint(erased=erased))
    shown = invoke("status")
    assert "1,234 records, 2 erased, 2026-03-01 12:00:00Z, keeps 3 erased out" in line_of(shown, "alpine/Customer")
    assert line_of(shown, "seaside/Bill") == "seaside/Bill idle keeps 3 erased out"
    rows = json.loads(invoke("status", "--json").stdout)["streams"]
    row = next(row for row in rows if row["stream"] == "alpine/Customer")
    assert (row["kept_out"], row["last_snapshot"]["erased"]) == (3, 2)


# --- plan -----------------------------------------------------------------------------------------------------


def test_plan_says_what_would_be_asked_for_and_when(invoke: Invoke, entries: Table) -> None:
    entries["seaside/Bill"] = entry(None, problem="checkpoint of version 9")
    in_step = msgspec.structs.replace(DONE, requested_at=NOW - timedelta(minutes=1))
    entries["seaside/Reservation"] = entry(Checkpoint(state=Idle(), snapshot=DONE, window=in_step))
    result = invoke("plan")
    assert result.exit_code == 0, result.stderr
    assert line_of(result, "alpine/OrderItem").endswith("asks Mews for an export snapshot now")
    assert "goes on publishing file 2 of 4 snapshot now" in line_of(result, "alpine/Reservation")
    assert "window 2026-03-01 09:50:00Z to 2026-03-01 11:54:00Z now" in line_of(result, "alpine/Customer")
    assert "in 14m 0s (2026-03-01 12:14:00Z)" in line_of(result, "seaside/Reservation")
    assert "leaves the stream alone: checkpoint of version 9" in line_of(result, "seaside/Bill")


def test_plan_for_programs_is_json(invoke: Invoke) -> None:
    told = json.loads(invoke("plan", "--json", "-c", "seaside", "-t", "Bill").stdout)
    assert told["streams"] == [
        {
            "stream": "seaside/Bill",
            "does": "asks Mews for an export",
            "kind": "snapshot",
            "window": None,
            "export_id": None,
            "at": None,
        }
    ]


# --- check ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.OK, 0), (Verdict.WARN, 0), (Verdict.FAIL, 1)])
def test_check_is_1_where_something_fails_and_tells_it_either_way(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, code: int
) -> None:
    async def findings(_: Config) -> AsyncIterator[Finding]:
        yield Finding(Verdict.OK, "settings", "[fine]")
        yield Finding(verdict, "topic mews.bill", "has 3 partitions", "look " * 40 + "end")

    monkeypatch.setattr("streamer.service.check.findings", findings)
    result = invoke("check")
    assert result.exit_code == code
    first, second = result.stdout.splitlines()
    assert first == "ok   settings: [fine]"
    assert second == f"{verdict:<4} topic mews.bill: has 3 partitions -> {'look ' * 40}end"
    result = invoke("check", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["findings"][1]["verdict"] == verdict


# --- figures --------------------------------------------------------------------------------------------------


def test_sizes_and_durations_are_short() -> None:
    assert [size(n) for n in (None, 0, 999, 1_500, 123_456, 20_000_000, 5e15)] == [
        "", "0 B", "999 B", "1.5 kB", "123 kB", "20.0 MB", "5000.0 TB",
    ]  # fmt: skip
    assert [duration(n) for n in (None, -1, 59, 61, 3_720, 90_000)] == ["", "0s", "59s", "1m 1s", "1h 2m", "1d 1h"]


# --- trouble --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["status", "plan", "verify"])
def test_where_kafka_does_not_answer_the_sentence_names_it_and_what_to_do(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    class Unreachable:
        async def __aenter__(self) -> None:
            raise KafkaUnavailableError("no answer within 30 s")

        async def __aexit__(self, *_: object) -> None: ...

    async def verify(*_: object, **__: object) -> None:
        raise KafkaUnavailableError("no answer within 30 s")

    monkeypatch.setattr("streamer.service.looking.stream_table", lambda _: Unreachable())
    monkeypatch.setattr("streamer.service.planning.stream_table", lambda _: Unreachable())
    monkeypatch.setattr("streamer.service.verifying.verify", verify)
    result = invoke(command)
    assert result.exit_code == 1
    assert result.stderr == (
        "streamer: Kafka can't be used at localhost:9092 (kafka.bootstrap_servers): no answer within 30 s; "
        "`streamer check` says more\n"
    )


def test_a_paused_stream_and_what_was_left_out_are_told(invoke: Invoke, entries: Table) -> None:
    counts = Counts(lines=9, records=2, unchanged=7, tombstones=1)
    done = structs.replace(DONE, counts=counts, tombstones_withheld=40, withheld_why="too many")
    entries["alpine/Customer"] = entry(Checkpoint(state=Idle(), snapshot=done, paused=True))
    told = line_of(invoke("status"), "alpine/Customer")
    assert "alpine/Customer paused 2h 0m 2 records, 7 unchanged, 1 gone, 40 tombstones withheld: too many" in told
