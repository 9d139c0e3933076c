"""What becomes of lines that are held against their schema, or veiled, before they are published."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from streamer.config import Config, ConnectionConfig, EntityConfig, ExportsConfig
from streamer.contract.entities import example_of
from streamer.core.blocks import DeadLetter, FileBlocks, FileToGather
from streamer.core.record_format import EncodedHeaders
from streamer.errors import ConfigError
from streamer.metrics import Metrics
from streamer.model import ConnectionName, EntityType, ExportId, Secret, StreamKey
from streamer.service.preparing import line_rules
from tests.unit.core.gathered import headers_in

STREAM = StreamKey(ConnectionName("alpine"), EntityType.CUSTOMER)


class Values:
    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.ids: list[bytes] = []

    def append(self, partition: int, key: bytes, value: bytes, headers: EncodedHeaders) -> None:
        self.values.append(value)
        self.ids.append(dict(headers_in(headers))["ce_id"])


def config(validate: Any = "off", **entity: Any) -> Config:
    connection = ConnectionConfig(
        name=STREAM.connection,
        platform_url="https://api.mews.com",
        client_token=Secret("c"),
        access_token=Secret("a"),
    )
    return Config(
        exports=ExportsConfig(validate=validate),
        entity={EntityType.CUSTOMER: EntityConfig(**entity)} if entity else {},
        connections=(connection,),
    )


def customer(**changes: Any) -> bytes:
    return msgspec.json.encode({**example_of(EntityType.CUSTOMER), **changes})


def gather(
    settings: Config, *lines: bytes, metrics: Metrics | None = None, room: int = 1_000_000
) -> tuple[Values, tuple[DeadLetter, ...]]:
    rules = line_rules(settings, EntityType.CUSTOMER)
    file = FileToGather(
        export_id=ExportId("e1"),
        stream=STREAM,
        index=0,
        partitions=4,
        max_line_bytes=100_000,
        max_record_bytes=room,
        headers=True,
    )
    blocks = FileBlocks(
        file,
        Values,
        preparation=rules.for_export(STREAM, ExportId("e1"), (metrics or Metrics()).stream(STREAM)),
    )
    blocks.feed(b"".join(line + b"\n" for line in lines))
    blocks.finish()
    block = blocks.take()
    assert block.lines == len(lines)
    assert block.records == len(block.batches.values)
    return block.batches, block.dead_letters


def drift_counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["field"], sample.labels["path"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "streamer_unexpected_shape_lines_total"
    }


def test_without_rules_there_is_no_preparation_at_all() -> None:
    rules = line_rules(config(), EntityType.CUSTOMER)
    assert rules.for_export(STREAM, ExportId("e1"), Metrics().stream(STREAM)) is None


def test_drift_is_counted_for_each_line_and_logged_once() -> None:
    metrics = Metrics()
    lines = [customer(LastName=7), customer(), customer(LastName=8)]
    with capture_logs() as logs:
        values, dead = gather(config("warn"), *lines, metrics=metrics)
    assert (values.values, dead) == (lines, ())
    assert drift_counted(metrics) == {("LastName", "LastName"): 2.0}
    assert [(entry["event"], entry["field"], entry["path"]) for entry in logs] == [
        ("unexpected_shape", "LastName", "LastName")
    ]


def test_an_export_that_is_taken_up_again_logs_nothing_twice() -> None:
    rules, metrics = line_rules(config("warn"), EntityType.CUSTOMER), Metrics().stream(STREAM)
    with capture_logs() as logs:
        for export_id in ("e1", "e1", "e2"):
            preparation = rules.for_export(STREAM, ExportId(export_id), metrics)
            assert preparation is not None
            preparation.prepare(customer(LastName=7))
    assert [entry["export_id"] for entry in logs] == ["e1", "e2"]


def test_lines_of_another_shape_become_dead_letters_where_that_is_asked_for() -> None:
    good, bad = customer(), customer(IsActive="yes")
    values, dead = gather(config("dead_letter"), bad, good)
    assert values.values == [good]
    assert values.ids == [b"e1/0/%d" % (len(bad) + 1)]
    assert [(letter.reason.value, letter.value, letter.line) for letter in dead] == [("unexpected_shape", bad, 1)]


def test_lines_are_veiled_and_keep_their_place() -> None:
    line = customer(Email="a@example.test")
    settings = config(drop_fields=("Notes",), hash_fields=("Email",), hash_key=Secret("key"))
    values, dead = gather(settings, line, line)
    veiled = msgspec.json.decode(values.values[1])
    assert dead == ()
    assert "Notes" not in veiled
    assert veiled["Email"] == hmac.new(b"key", b"a@example.test", hashlib.sha256).hexdigest()
    assert values.ids[1] == b"e1/0/%d" % (len(line) + 1)


def test_a_line_is_held_against_its_schema_before_it_is_veiled() -> None:
    metrics = Metrics()
    gather(config("warn", drop_fields=("LastName",)), customer(), metrics=metrics)
    assert drift_counted(metrics) == {}


def test_dead_letters_of_veiled_types_keep_no_bytes() -> None:
    bad = b'{"LastName":"canary"}'
    _, dead = gather(config(drop_fields=("LastName",)), bad)
    (letter,) = dead
    headers = dict(letter.headers)
    assert letter.value == b""
    assert headers["streamer.length"] == b"%d" % len(bad)
    assert len(headers["streamer.digest"]) == 64
    assert b"canary" not in b"".join(headers.values())


def test_a_line_that_its_hashes_make_too_large_is_a_dead_letter() -> None:
    line = customer()
    settings = config(hash_fields=("FirstName", "LastName", "Email", "Phone"), hash_key=Secret("key"))
    _, dead = gather(settings, line, room=len(line) + 450)
    assert [letter.reason.value for letter in dead] == ["record_too_large"]


def test_a_misspelt_field_is_refused_and_a_new_one_is_not() -> None:
    with pytest.raises(ConfigError, match="LastName"):
        line_rules(config(drop_fields=("Lastname",)), EntityType.CUSTOMER)
    line_rules(config(drop_fields=("Zodiac",)), EntityType.CUSTOMER)
