"""The document is one for the AsyncAPI project's own parser, whatever the settings."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from streamer.config import Config, ConnectionConfig, TopicsConfig
from streamer.contract.asyncapi import document
from streamer.model import ConnectionName, EntityType, Secret

PROGRAMS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamer" / "programs"


def parsed(*documents: dict[str, Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("validate.cjs"))],
        input=json.dumps(documents),
        env={**os.environ, "NODE_PATH": str(PROGRAMS / "asyncapi" / "node_modules")},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=120,
    )
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def settings(**topics: Any) -> Config:
    alpine = ConnectionConfig(
        name=ConnectionName("alpine"),
        platform_url="https://api.mews.com",
        client_token=Secret("c"),
        access_token=Secret("a"),
        entity_types=tuple(EntityType),
    )
    seaside = msgspec.structs.replace(alpine, name=ConnectionName("seaside"), access_token=Secret("b"))
    return Config(topics=TopicsConfig(**topics), connections=(alpine, seaside))


def test_the_parser_finds_nothing_wrong_and_would_say_so() -> None:
    plain = document(settings(), version="1.0.0")
    own = document(settings(name="{prefix}.{connection}.{type}", headers="none"), version="1.0.0")
    broken = document(settings(), version="1.0.0")
    broken["channels"]["mews.bill"]["bindings"]["kafka"]["partitions"] = "twelve"
    *good, bad = parsed(plain, own, broken)
    for made, told in zip((plain, own), good, strict=True):
        assert (told["errors"], told["warnings"]) == ([], [])
        assert sorted(told["channels"]) == sorted(made["channels"])
        assert set(told["messages"]) == set(made["components"]["messages"])
    assert bad["errors"]
