"""The reckoning is able to fail while things go on, and forgets what it has compared."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

from tests.chaos.actions import Broken, Struck
from tests.chaos.reckoning import Commit, Reckoning
from tests.chaos.report import after_brokers, outlived
from tests.facts import Record, Served, digest_of, lines_of, murmur2

EXPORT = "11111111-1111-4111-8111-111111111111"
NEXT = "22222222-2222-4222-8222-222222222222"
TOPIC = "t.order-item"
DATA = b"".join(b'{"Id":"a%d"}\n' % n for n in range(20))
PARTITIONS = {TOPIC: 1, "t.exports": 1, "t.dead-letters": 1, "t.checkpoints": 16}


def records(export: str = EXPORT, first: int = 0) -> list[Record]:
    headers = {"ce_specversion": b"1.0", "ce_source": b"/mews/alpine", "ce_type": b"com.mews.OrderItem"}
    return [
        Record(
            TOPIC,
            0,
            first + number,
            f"a{number - 1}".encode(),
            line,
            tuple({**headers, "ce_id": f"{export}/0/{offset}".encode(), "content-type": b"application/json"}.items()),
        )
        for number, offset, line in lines_of(DATA)
    ]


def events(export: str = EXPORT, first: int = 0) -> list[Record]:
    parts = records(export, first)
    digest = f"{sum(map(digest_of, parts)) % 2**64:016x}"
    completed = {
        "topic": TOPIC,
        "files": 1,
        "bytes": len(DATA),
        "lines": 20,
        "records": 20,
        "unchanged": 0,
        "dead_letters": 0,
        "blank": 0,
        "tombstones": 0,
        "requested_at": "2026-01-01T00:00:00Z",
        "ready_at": "2026-01-01T00:00:01Z",
        "partitions": {"0": {"records": 20, "tombstones": 0, "start": first + 1, "end": first + 21, "digest": digest}},
    }
    told: list[tuple[str, dict[str, Any]]] = [
        ("export_requested", {}),
        ("export_ready", {}),
        ("file_published", {"file": 0, "bytes": len(DATA)}),
        ("export_completed", completed),
    ]
    found = []
    for second, (name, fields) in enumerate(told):
        body = {"event": name, "connection": "alpine", "entity_type": "OrderItem", "export_id": export}
        headers = {"ce_id": f"{export}/{name}", "ce_type": f"streamer.{name}", "ce_source": "/mews/alpine"}
        value = json.dumps({**body, "at": f"2026-01-01T00:00:0{second + 2}Z", **fields}).encode()
        pairs = tuple((header, text.encode()) for header, text in headers.items())
        found.append(Record("t.exports", 0, second, b"alpine/OrderItem", value, pairs))
    return found


def checkpoint() -> Record:
    state = {"phase": "publishing", "export_id": EXPORT, "position": {"file": 0, "offset": 0}}
    value = {"cycle": 1, "term": 1, "owner": "host/42/ab", "state": state, "snapshot": None}
    key = b"alpine/OrderItem"
    return Record("t.checkpoints", murmur2(key) % 16, 0, key, json.dumps(value).encode(), (), 1000)


def reckoning(*, serve: bool = True) -> Reckoning:
    made = Reckoning(PARTITIONS, ["OrderItem"], prefix="t", connection="alpine", ends=lambda topic: {(topic, 0): 21})
    if serve:
        made.serve(EXPORT, Served("OrderItem", (partial(bytes, DATA),)))
    return made


READ = dict.fromkeys([(topic, 0) for topic in PARTITIONS], 21)


def taken(*more: Record, without: int | None = None) -> Reckoning:
    found = reckoning()
    for record in (checkpoint(), *records(), *events(), *more):
        if without is None or record.topic != TOPIC or record.offset != without:
            found.take(record)
    return found


def test_a_whole_export_is_compared_as_soon_as_it_is_read_and_then_forgotten() -> None:
    found = taken()
    found.settle(dict.fromkeys(READ, 20))
    assert (found.held, found.report.completed) == (20, 0)
    found.settle(READ)
    assert found.differences == []
    assert (found.held, found.report.completed, found.report.records, found.verified) == (0, 1, 20, 20)


def test_of_each_key_the_newest_record_is_remembered_however_many_exports_there_were() -> None:
    found = taken()
    found.settle(READ)
    found.serve(NEXT, Served("OrderItem", (partial(bytes, DATA),)))
    for record in (*records(NEXT, 100), *events(NEXT, 100)):
        found.take(record)
    assert found.remembered == 40
    found.settle(READ)
    assert found.remembered == 20
    assert found.report.completed == 2
    assert not any(difference.startswith(("missing:", "repeated:")) for difference in found.differences)


def test_it_waits_for_what_mews_served() -> None:
    found = reckoning(serve=False)
    for record in (checkpoint(), *records(), *events()):
        found.take(record)
    found.settle(READ)
    assert found.report.completed == 0
    found.serve(EXPORT, Served("OrderItem", (partial(bytes, DATA),)))
    found.settle(READ)
    assert (found.differences, found.report.completed) == ([], 1)


def test_a_record_that_is_missing_is_lost() -> None:
    found = taken(without=7)
    found.settle(READ)
    assert any(difference.startswith("missing:") for difference in found.differences)


def test_a_record_that_comes_twice_within_the_export_is_doubled() -> None:
    found = taken(replace(records()[3], offset=30))
    found.settle(READ)
    assert any(difference.startswith("repeated:") for difference in found.differences)


def test_a_record_that_comes_again_when_all_is_compared_is_doubled() -> None:
    found = taken()
    found.settle(READ)
    found.take(replace(records()[3], offset=30))
    assert [difference[:9] for difference in found.differences] == ["repeated:"]


def test_recovery_is_the_next_commit_of_somebody_else() -> None:
    commits = [
        Commit(10.0, "a", 1, "publishing"),
        Commit(10.5, "b", 1, "idle"),
        Commit(11.0, "b", 2, "publishing"),
        Commit(16.0, "a", 2, "publishing"),
        Commit(30.0, "a", 3, "publishing"),
    ]
    kill = Struck(10.6, "SIGKILL", "at random", 1)
    assert outlived(commits, [kill], []) == {"all": [16.0 - 10.6], "alone": [16.0 - 10.6]}
    crash = Broken(12.0, "kill", 0, 14.0)
    assert outlived(commits, [kill], [crash]) == {"all": [16.0 - 10.6], "alone": []}
    assert after_brokers(commits, [crash]) == {"kill": [2.0]}
