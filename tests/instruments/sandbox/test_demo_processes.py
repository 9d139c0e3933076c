import json
import signal
from datetime import timedelta
from pathlib import Path

from streamer.config import load_config
from streamer.model import PUBLIC_ENTITY_TYPES
from streamer.sandbox.demo_processes import child_environment, daemon_config, how_it_ended, last_lines


def test_the_daemons_settings_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(daemon_config(bootstrap_servers="127.0.0.1:1", platform_url="http://127.0.0.1:2", port=3))
    config = load_config(path, environ=child_environment({}))
    assert config.kafka.bootstrap_servers == ("127.0.0.1:1",)
    assert config.kafka.session_timeout == timedelta(seconds=3)
    assert config.http.port == 3
    assert config.connections[0].entity_types == PUBLIC_ENTITY_TYPES
    assert not any(secret.reveal() in path.read_text() for secret in config.secrets())


def test_settings_of_this_process_do_not_reach_the_daemon() -> None:
    environ = child_environment(
        {"PATH": "/bin", "STREAMER_KAFKA_BOOTSTRAP_SERVERS": "real:9092", "MEWS_ACCESS_TOKEN": "x"}
    )
    assert environ["PATH"] == "/bin"
    assert "STREAMER_KAFKA_BOOTSTRAP_SERVERS" not in environ
    assert environ["MEWS_ACCESS_TOKEN"] != "x"


def test_an_exit_code_in_words() -> None:
    assert how_it_ended(0) == "ended by itself"
    assert how_it_ended(2) == "ended with exit code 2"
    assert how_it_ended(128 + signal.SIGKILL) == "was ended by SIGKILL"
    assert how_it_ended(-signal.SIGTERM) == "was ended by SIGTERM"
    assert how_it_ended(250) == "ended with exit code 250"


def test_the_end_of_a_log_for_people(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    line = {"reason": "no answer", "event": "waiting_for_kafka", "level": "warning", "timestamp": "x"}
    crash = {"event": "unexpected_error", "level": "critical", "exception": "Traceback\n  ...\nValueError: no"}
    log.write_text("first\n" * 9 + json.dumps(line) + "\n\n" + json.dumps(crash) + "\nplain words\n")
    assert last_lines(log, 3).splitlines() == [
        "  | warning waiting_for_kafka reason=no answer",
        "  | critical unexpected_error ValueError: no",
        "  | plain words",
        f"  whole log: {log}",
    ]
    assert "no log" in last_lines(tmp_path / "missing.log")
