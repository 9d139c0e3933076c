"""The schemas in a real registry: registered once, then in steps that its rule of compatibility allows."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka.schema_registry import SchemaRegistryClient

from streamer.cli import cli
from streamer.config import Config, load_config
from streamer.contract.registry import Registration, Verdict, register
from streamer.contract.subjects import Subject, subjects
from streamer.sandbox.kafka_ports import free_port
from tests.schema_registry import schema_registry

ENVIRONMENT = {"TOKEN": "canary-token", "OTHER": "canary-other", "PASSWORD": "canary-password"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with schema_registry(tmp_path_factory.mktemp("registry") / "registry.log") as address:
        yield address


def settings(folder: Path, url: str, prefix: str, more: str = "") -> tuple[Path, Config]:
    path = folder / "config.toml"
    path.write_text(
        f"""
[topics]
prefix = "{prefix}"
schema_registry = "{url}"
{more}
[[connections]]
name = "alpine"
platform_url = "https://api.mews.com"
client_token = {{ env = "TOKEN" }}
access_token = {{ env = "OTHER" }}
"""
    )
    return path, load_config(path, environ=ENVIRONMENT)


def ran(config: Path, *options: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(cli, ["contract", "register", "--json", "--config", str(config), *options])
    return result.exit_code, [json.loads(line) for line in result.output.splitlines()]


def changed(subject: Subject, field: str, schema: object) -> Subject:
    """The subject as another version of streamer would have it."""
    wanted = copy.deepcopy(dict(subject.schema))
    wanted["properties"][field] = schema
    return msgspec.structs.replace(subject, schema=wanted)


def test_schemas_are_registered_once_and_go_on_by_steps_that_readers_survive(
    tmp_path: Path, url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    path, config = settings(tmp_path, url, prefix)
    wanted = {subject.name: subject for subject in subjects(config)}
    assert len(wanted) == 10  # nine entity types and the events

    with SchemaRegistryClient({"url": url}) as client:
        code, told = ran(path, "--dry-run")
        assert (code, {row["verdict"] for row in told}) == (0, {"registered"})
        assert not [name for name in client.get_subjects() if name.startswith(prefix)]

        code, told = ran(path)
        assert (code, {(row["verdict"], row["version"]) for row in told}) == (0, {("registered", 1)})
        assert {row["subject"] for row in told} == set(wanted)
        for name, subject in wanted.items():
            kept = client.get_latest_version(name).schema
            assert kept is not None
            assert (kept.schema_type, json.loads(kept.schema_str or "")) == ("JSON", subject.schema)
            assert client.get_compatibility(name) == subject.level
        code, told = ran(path)
        assert (code, {(row["verdict"], row["version"]) for row in told}) == (0, {("unchanged", 1)})

        # Mews adds a field: a version more. A field changes its type: refused, and the others are none the worse.
        name = f"{prefix}.reservation-value"
        more, other = (
            changed(wanted[name], "Number", {"type": "integer"}),
            changed(wanted[name], "New", {"type": "string"}),
        )
        events = msgspec.structs.replace(wanted[f"{prefix}.exports-value"], schema={**more.schema, "title": "new"})
        assert [made.verdict for made in register(client, [more, other], dry_run=True)] == ["refused", "registered"]
        refused, *taken = register(client, [more, other, events])
        assert refused.verdict is Verdict.REFUSED
        assert "Number" in (refused.problem or "")
        assert taken == [
            Registration(name, Verdict.REGISTERED, 2),
            Registration(f"{prefix}.exports-value", Verdict.REGISTERED, 2),
        ]

        # A level that somebody has set stays, and an exit code of 1 says that a person must look.
        bill = wanted[f"{prefix}.bill-value"]
        client.set_compatibility(bill.name, "NONE")
        assert next(register(client, [changed(bill, "Number", {"type": "boolean"})])).version == 2
        client.delete_version(bill.name, 1)
        client.set_compatibility(bill.name, "FULL")
        code, told = ran(path)
        assert (code, len(told)) == (1, len(wanted))
        assert [row["subject"] for row in told if row["verdict"] == "refused"] == [bill.name]
        assert client.get_compatibility(bill.name) == "FULL"


def test_a_registry_that_is_not_there_is_told_of_in_a_sentence_without_its_password(
    tmp_path: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    login = 'schema_registry_username = "me"\nschema_registry_password = { env = "PASSWORD" }'
    path, _ = settings(tmp_path, f"http://127.0.0.1:{free_port()}", prefix, login)
    result = CliRunner().invoke(cli, ["contract", "register", "--config", str(path)])
    assert result.exit_code == 1
    assert "the schema registry can't be used (topics.schema_registry): " in result.output
    assert "canary" not in result.output
