"""A library that repeats itself is heard once in a while, and everybody else always."""

from __future__ import annotations

import io
import json
import logging

from streamer.logs import configure_logs
from streamer.repeated_logs import RepeatedMessages


def _record(template: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("aiokafka.conn", level, "conn.py", 1, template, arguments, None)


def test_the_same_template_passes_once_within_the_time_and_then_tells_what_was_left_out() -> None:
    now = 0.0
    repeated = RepeatedMessages(seconds=10, clock=lambda: now)

    assert repeated.filter(_record("no connection to %s", 1))
    assert not repeated.filter(_record("no connection to %s", 2))
    assert not repeated.filter(_record("no connection to %s", 3))
    now = 10.0
    late = _record("no connection to %s", 4)

    assert repeated.filter(late)
    assert late.__dict__["repeated"] == 2


def test_another_template_or_level_passes_at_once() -> None:
    repeated = RepeatedMessages(clock=lambda: 0.0)

    assert repeated.filter(_record("a"))
    assert repeated.filter(_record("b"))
    assert repeated.filter(_record("a", level=logging.WARNING))


def test_only_libraries_are_cut_short() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    for _ in range(3):
        logging.getLogger("aiokafka.consumer.fetcher").error("not the leader of %s", "a partition")
        logging.getLogger("streamer.service").error("the same again")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert [line["level"] for line in lines if line["event"] == "the same again"] == ["error"] * 3
    # An error to aiokafka, which goes on trying all the same.
    assert [line["level"] for line in lines if line["event"] == "not the leader of a partition"] == ["warning"]
