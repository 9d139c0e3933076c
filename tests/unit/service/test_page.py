"""What the status page is told: everything once, then what changes."""

from __future__ import annotations

import json
from typing import Any

from streamer.service.page import StatusPage

Row = dict[str, Any]


class Looking:
    """A page over rows that the test changes, and a clock that it turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows: list[Row] = []
        self.page = StatusPage(
            rows=lambda: self.rows, ready=lambda: True, replica="host/1/a", prefix="mews", clock=lambda: self.now
        )

    def told(self, *rows: Row) -> Row | None:
        self.rows = list(rows)
        message = self.page._changes()
        return None if message is None else json.loads(message)


def row(stream: str, size: int, *, owner: str = "host/1/a/1", lag: float = 1.0) -> Row:
    export = {"export_id": "e1", "bytes": size, "bytes_total": 1_000}
    return {"stream": stream, "owner": owner, "lag_seconds": lag, "export": export}


def test_all_rows_are_told_once_and_then_those_that_change() -> None:
    looking = Looking()
    first = looking.told(row("a/Bill", 0), row("a/Payment", 0))
    assert first is not None
    assert (first["whole"], len(first["streams"])) == (True, 2)
    assert looking.told(row("a/Bill", 0, lag=2.0), row("a/Payment", 0, lag=2.0)) is None
    changed = looking.told(row("a/Bill", 500), row("a/Payment", 0))
    assert changed is not None
    assert (changed["whole"], [told["stream"] for told in changed["streams"]]) == (False, ["a/Bill"])
    fewer = looking.told(row("a/Bill", 500))
    assert fewer is not None
    assert (fewer["whole"], len(fewer["streams"])) == (True, 1)


def test_rate_and_time_left_follow_what_is_published_while_somebody_looks() -> None:
    looking = Looking()
    looking.told(row("a/Bill", 200))
    looking.now = 2.0
    told = looking.told(row("a/Bill", 400))
    assert told is not None
    assert (told["streams"][0]["bytes_per_second"], told["streams"][0]["seconds_left"]) == (100, 6)


def test_what_the_first_checkpoint_tells_was_not_published_just_now() -> None:
    looking = Looking()
    looking.told({"stream": "a/Bill", "owner": "", "export": None})
    looking.now = 1.0
    told = looking.told(row("a/Bill", 900))
    assert told is not None
    assert told["streams"][0]["bytes_per_second"] == 0
