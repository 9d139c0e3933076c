"""What somebody meets who has just begun: each mistake is one sentence that says what to do, and an exit code."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from streamer.sandbox import faults
from streamer.sandbox.faults import FaultRule
from streamer.sandbox.kafka_ports import free_port
from streamer.sandbox.simulator import Simulator
from tests.brokers import Kafka
from tests.processes import Said, started, streamer
from tests.replica import INSTANT, check_published, create_topic, running, see, settings_for
from tests.settings_file import settings_file

TOKENS = {"MEWS_CLIENT_TOKEN": INSTANT.client_token, "MEWS_ACCESS_TOKEN": INSTANT.access_tokens[0]}


@pytest.fixture
async def mews() -> AsyncIterator[Simulator]:
    async with Simulator(INSTANT) as simulator:
        simulator.set_data("Reservation", [b'{"Id":"r1"}\n{"Id":"r2"}\n'])
        simulator.set_data("Customer", [b'{"Id":"c1"}\n'])
        yield simulator


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody listens who answers nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def write_config(directory: Path, kafka: str, prefix: str, url: str, *, port: int = 0, more: str = "") -> None:
    text = settings_file(
        kafka={"bootstrap_servers": [kafka]},
        topics={"prefix": prefix, "partitions": 2},
        exports={"poll_interval": "100ms", "update_interval": "off"},
        port=port,
        connections=[
            {
                "name": "alpine",
                "platform_url": url,
                "client_token": {"env": "MEWS_CLIENT_TOKEN"},
                "access_token": {"env": "MEWS_ACCESS_TOKEN"},
                "entity_types": ["Reservation", "Customer"],
            }
        ],
    )
    (directory / "config.toml").write_text(more + text, encoding="utf-8")


def lines_of(said: Said) -> dict[str, str]:
    """The lines of ``streamer check`` by what each is about."""
    lines = {}
    for line in said.stdout.splitlines():
        mark, _, rest = line.partition(" ")
        what, _, result = rest.strip().partition(": ")
        lines[what] = f"{mark} {result}"
    return lines


# --- settings -------------------------------------------------------------------------------------------------


async def test_without_a_settings_file_one_sentence_names_it_and_where_to_begin(tmp_path: Path) -> None:
    said = await streamer("run", cwd=tmp_path)
    assert (said.code, said.stdout) == (2, "")
    assert said.sentence.startswith("there is no file config.toml: ")
    assert "config.example.toml" in said.sentence


async def test_a_misspelt_key_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    write_config(tmp_path, "127.0.0.1:9", "p", "http://127.0.0.1:9", more="[topic]\npartitions = 3\n")
    said = await streamer("once", cwd=tmp_path, environment=TOKENS)
    assert said.code == 2
    assert said.sentence == 'topic: unknown key; did you mean "topics"?'


async def test_a_missing_variable_is_named_with_the_setting_that_needs_it(tmp_path: Path) -> None:
    write_config(tmp_path, "127.0.0.1:9", "p", "http://127.0.0.1:9")
    said = await streamer("check", cwd=tmp_path, environment={"MEWS_CLIENT_TOKEN": "x"})
    assert said.code == 2
    assert said.sentence == "connections[0].access_token: the environment variable MEWS_ACCESS_TOKEN is not set"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["walk"], "No such command 'walk'."),
        (["run", "--fast"], "No such option"),
        (["run", "--log-level", "loud"], "'loud' is not one of 'debug', 'info', 'warning', 'error'."),
    ],
)
async def test_an_unknown_command_or_option_is_told_with_where_to_look(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    said = await streamer(*arguments, cwd=tmp_path)
    assert said.code == 2
    assert told in said.stderr
    assert "--help" in said.stderr
    assert "Traceback" not in said.stderr


async def test_an_unknown_entity_type_is_told_with_those_there_are(tmp_path: Path) -> None:
    write_config(tmp_path, "127.0.0.1:9", "p", "http://127.0.0.1:9")
    said = await streamer("once", "-t", "Reservatoin", cwd=tmp_path, environment=TOKENS)
    assert said.code == 2
    assert said.sentence == (
        'there is no entity type "Reservatoin"; did you mean "Reservation"?; the settings have Reservation, Customer'
    )


async def test_a_port_that_is_taken_is_named_with_the_setting(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator, taken_port: int
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url, port=taken_port)
    said = await streamer("run", cwd=tmp_path, environment=TOKENS)
    assert said.code == 2
    assert said.sentence == f"http.port: port {taken_port} is in use; choose another one, or 0 for any that is free"


# --- Mews says no ---------------------------------------------------------------------------------------------


async def test_a_wrong_token_is_found_by_check_and_named_without_being_shown(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    wrong = {**TOKENS, "MEWS_ACCESS_TOKEN": "wrong-canary-token"}
    said = await streamer("check", cwd=tmp_path, environment=wrong)
    assert said.code == 1
    (line,) = [line for line in said.stdout.splitlines() if line.startswith("FAIL")]
    assert line.startswith(f"FAIL mews alpine ({mews.url}): ")
    assert "Invalid ClientToken or AccessToken." in line
    assert "check platform_url, tokens" in line
    assert "canary" not in said.stdout + said.stderr
    assert said.stderr == ""


async def test_with_a_wrong_token_once_says_which_streams_stopped_and_why(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    wrong = {**TOKENS, "MEWS_ACCESS_TOKEN": "wrong-canary-token"}
    said = await streamer("once", cwd=tmp_path, environment=wrong)
    assert said.code == 1
    for kind in ("Reservation", "Customer"):
        (row,) = [line for line in said.stdout.splitlines() if line.startswith(f"alpine/{kind}")]
        assert "stopped: exports/add: Invalid ClientToken or AccessToken." in row
    assert "Traceback" not in said.stderr
    assert "canary" not in said.stdout + said.stderr


async def test_with_a_wrong_token_the_daemon_goes_on_with_an_alarm(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    wrong = {**TOKENS, "MEWS_CLIENT_TOKEN": "wrong-canary-token"}
    async with started("run", cwd=tmp_path, environment=wrong) as daemon:
        stopped = await daemon.until_logged("stream_stopped")
        assert (stopped["level"], stopped["connection"]) == ("error", "alpine")
        assert "Invalid ClientToken or AccessToken." in stopped["reason"]
        status, _ = await daemon.page("/readyz")
        assert status == 200
        assert b"streamer_stream_stopped{" in (await daemon.page("/metrics"))[1]
        assert await daemon.terminate() == 0
        assert b"canary" not in daemon.output
        assert b"Traceback" not in daemon.output


# --- Kafka is not there ---------------------------------------------------------------------------------------


async def test_check_says_that_kafka_is_not_there_and_looks_at_mews_all_the_same(
    tmp_path: Path, mews: Simulator
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    write_config(tmp_path, nobody, "p", mews.url)
    said = await streamer("check", cwd=tmp_path, environment=TOKENS)
    assert said.code == 1
    lines = lines_of(said)
    assert lines[f"kafka {nobody}"].startswith("FAIL ")
    assert lines[f"kafka {nobody}"].endswith("-> check kafka.bootstrap_servers and that a broker runs")
    assert lines[f"mews alpine ({mews.url})"].startswith("ok ")
    assert said.stdout.count("FAIL") == 1
    assert said.stderr == ""


async def test_once_gives_up_in_the_end_where_kafka_is_not_there(tmp_path: Path, mews: Simulator) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    write_config(tmp_path, nobody, "p", mews.url)
    said = await streamer("once", cwd=tmp_path, environment=TOKENS)
    assert said.code == 1
    assert said.sentence.startswith(f"Kafka can't be used at {nobody} (kafka.bootstrap_servers): ")
    assert "waiting_for_kafka" in said.stderr
    assert mews.requests["add"] == 0


async def test_the_daemon_waits_for_kafka_alive_but_not_ready_and_still_ends_when_told_to(
    tmp_path: Path, mews: Simulator
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    write_config(tmp_path, nobody, "p", mews.url)
    async with started("run", cwd=tmp_path, environment=TOKENS) as daemon:
        waiting = await daemon.until_logged("waiting_for_kafka")
        assert (waiting["level"], waiting["servers"]) == ("warning", nobody)
        assert (await daemon.page("/livez"))[0] == 200
        assert (await daemon.page("/readyz"))[0] == 503
        assert (await daemon.page("/metrics"))[0] == 200
        rows = await daemon.streams()
        assert [row["stream"] for row in rows] == ["alpine/Customer", "alpine/Reservation"]
        assert await daemon.terminate() == 0
        assert b"Traceback" not in daemon.output
    assert mews.requests["add"] == 0


async def test_a_broker_that_accepts_connections_and_says_nothing_keeps_the_daemon_from_nothing_but_work(
    tmp_path: Path, mews: Simulator, taken_port: int
) -> None:
    write_config(tmp_path, f"127.0.0.1:{taken_port}", "p", mews.url)
    async with started("run", cwd=tmp_path, environment=TOKENS) as daemon:
        await daemon.until_logged("listening")
        assert (await daemon.page("/livez"))[0] == 200
        assert (await daemon.page("/readyz"))[0] == 503
        begun = asyncio.get_running_loop().time()
        assert await daemon.terminate() == 0
        assert asyncio.get_running_loop().time() - begun < 10


# --- once and check, where all is well ------------------------------------------------------------------------


async def test_once_publishes_an_export_of_each_stream_and_a_second_run_a_new_one(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    for turn in (1, 2):
        said = await streamer("once", cwd=tmp_path, environment=TOKENS)
        assert said.code == 0, said
        assert [line.split()[:2] for line in said.stdout.splitlines()[1:]] == [
            ["alpine/Reservation", "completed"],
            ["alpine/Customer", "completed"],
        ]
        assert mews.requests["add"] == 2 * turn
    seen = await see(kafka.bootstrap_servers, prefix)
    assert check_published(mews, seen).completed == 4
    assert seen.told().count("export_completed") == 2


async def test_once_takes_the_streams_that_were_chosen_and_no_others(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    said = await streamer("once", "-t", "customer", cwd=tmp_path, environment=TOKENS)
    assert said.code == 0
    assert list(mews.requests_by_type) == ["Customer"]


async def test_once_beside_a_daemon_leaves_the_work_to_it_and_says_so(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    async with running(settings_for(kafka.bootstrap_servers, prefix, mews.url)) as daemon:
        await daemon.completed()
        said = await streamer("once", cwd=tmp_path, environment=TOKENS)
        assert said.code == 1
        assert said.sentence.startswith("another streamer works on these topics")
        assert "stop it first" in said.sentence
        # The daemon has all its shards again, and works on.
        await daemon.until(
            lambda: daemon.metrics.registry.get_sample_value("streamer_owned_shards") == 16.0, "all shards again"
        )
    assert mews.requests_by_type["Reservation"]["add"] == 1
    assert "Customer" not in mews.requests_by_type


async def test_check_says_a_line_for_each_thing_and_changes_nothing(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    create_topic(kafka.bootstrap_servers, f"{prefix}.exports", partitions=1)
    said = await streamer("check", cwd=tmp_path, environment=TOKENS)
    assert said.code == 0, said
    assert said.stderr == ""
    lines = lines_of(said)
    assert lines["settings"] == "ok 1 connection(s), 2 streams"
    assert lines[f"kafka {kafka.bootstrap_servers}"].startswith("ok reachable; Apache Kafka 4.")
    assert lines[f"topic {prefix}.reservation"] == "ok missing -> the daemon will create it"
    assert lines[f"topic {prefix}.exports"].startswith("warn has 1 partitions instead of 2; ")
    assert "streamer never alters topics" in lines[f"topic {prefix}.exports"]
    assert lines["transactions"] == "ok the brokers take them"
    assert lines[f"group {prefix}.streamer"] == "ok 0 replica(s) at work"
    assert lines[f"mews alpine ({mews.url})"] == "ok reachable, tokens accepted"
    assert lines["clock"].startswith("ok ")
    assert mews.requests["add"] == 0
    seen = await see(kafka.bootstrap_servers, prefix)
    assert list(seen.published.records) == [f"{prefix}.exports"]


async def test_check_fails_for_topics_that_nobody_will_make_and_for_a_wrong_clock(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    mews.advance(3_600)
    said = await streamer("check", cwd=tmp_path, environment={**TOKENS, "STREAMER_TOPICS_CREATE": "false"})
    assert said.code == 1
    lines = lines_of(said)
    assert lines[f"topic {prefix}.customer"] == "FAIL missing -> create it, or set topics.create = true"
    assert lines["clock"].startswith("FAIL -3")
    assert "set the clock" in lines["clock"]


async def test_check_says_what_to_do_where_mews_is_not_there(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, f"http://127.0.0.1:{free_port()}")
    said = await streamer("check", cwd=tmp_path, environment=TOKENS)
    assert said.code == 1
    (line,) = [line for line in said.stdout.splitlines() if line.startswith("FAIL")]
    assert "Connection refused" in line
    assert line.endswith("-> check platform_url and the way to it")

    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    mews.add_fault(FaultRule(on="get_all", action=faults.Status(code=503, body="html")))
    said = await streamer("check", cwd=tmp_path, environment=TOKENS)
    assert said.code == 1
    assert "status 503" in said.stdout


async def test_the_logs_of_a_daemon_that_is_no_terminal_are_json_on_stderr_to_the_last_line(
    kafka: Kafka, prefix: str, tmp_path: Path, mews: Simulator
) -> None:
    write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
    said = await streamer("once", cwd=tmp_path, environment=TOKENS)
    lines = [json.loads(line) for line in said.stderr.splitlines()]
    assert {"event", "level", "timestamp"} <= set.intersection(*(set(line) for line in lines))
