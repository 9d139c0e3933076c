"""``streamer contract``: what consumers are promised, as files."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path

import click

from streamer.commands.start import config_option
from streamer.config import Config, ConnectionConfig, load_config
from streamer.model import ConnectionName, EntityType, Secret


@click.group()
def contract() -> None:
    """The contract with consumers: topics, headers, schemas.

    \b
    Examples:
      streamer contract asyncapi --config config.toml > asyncapi.json
      streamer contract schemas --out schemas
    """


@contract.command()
@config_option
def asyncapi(config: Path | None) -> None:
    """The AsyncAPI 3 document, as JSON, on stdout.

    It tells of the topics of these settings; no secret is looked for. Without any settings it tells of the default
    ones, with all ten entity types.
    """
    from streamer.contract.asyncapi import document

    made = document(_settings(config), version=importlib.metadata.version("streamer"))
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


@contract.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write to.")
def schemas(out: Path) -> None:
    """JSON Schemas (2020-12) of all entities and events, one file each."""
    from streamer.contract.schemas import all_schemas

    out.mkdir(parents=True, exist_ok=True)
    made = all_schemas()
    for name, schema in made.items():
        text = json.dumps(schema, indent=2, ensure_ascii=False)
        (out / f"{name}.schema.json").write_text(f"{text}\n", encoding="utf-8")
    click.echo(f"{len(made)} schemas written to {out}")


def _settings(config: Path | None) -> Config:
    before = click.get_current_context().find_root().params
    named = config or before.get("config") or os.environ.get("STREAMER_CONFIG")
    if named is None and not Path("config.toml").exists():
        return _default_settings()
    return load_config(Path(named or "config.toml"), environ=os.environ, with_secrets=False)


def _default_settings() -> Config:
    example = ConnectionConfig(
        name=ConnectionName("example"),
        platform_url="https://api.mews.com",
        client_token=Secret("none"),
        access_token=Secret("none"),
        entity_types=tuple(EntityType),
    )
    return Config(connections=(example,))
