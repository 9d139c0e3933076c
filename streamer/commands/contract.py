"""``streamer contract``: what consumers are promised, as files."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path

import click

from streamer.commands.start import config_option, json_option, named_config, start, start_options
from streamer.commands.tables import print_json
from streamer.config import Config, ConnectionConfig, load_config
from streamer.model import ConnectionName, EntityType, Secret


@click.group()
def contract() -> None:
    """The contract with consumers: topics, headers, schemas.

    \b
    Examples:
      streamer contract asyncapi --config config.toml > asyncapi.json
      streamer contract schemas --out schemas
      streamer contract register --dry-run
    """


@contract.command()
@config_option
def asyncapi() -> None:
    """The AsyncAPI 3 document, as JSON, on stdout.

    It tells of the topics of these settings; no secret is looked for. Without any settings it tells of the default
    ones, with all ten entity types.
    """
    from streamer.contract.asyncapi import document

    made = document(_settings(), version=importlib.metadata.version("streamer"))
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


@contract.command()
@click.option("--dry-run", is_flag=True, help="Change nothing; ask the registry what it would say.")
@json_option
@start_options
def register(as_json: bool, dry_run: bool) -> None:
    """Register the schemas with the Schema Registry of topics.schema_registry.

    One subject for each topic, named after it with -value; what is registered already is left alone. For a release or a
    cron job: the daemon never calls the registry. Needs the extra `registry`. Exits with 1 where a schema is refused.
    """
    from streamer.contract import registry
    from streamer.contract.subjects import subjects

    settings = start(default_level="critical")
    refused = False
    with registry.registry(settings.topics) as client:
        for made in registry.register(client, subjects(settings), dry_run=dry_run):
            refused |= made.verdict is registry.Verdict.REFUSED
            if as_json:
                print_json(made)
                continue
            version = f", version {made.version}" if made.version else ""
            click.echo(f"{made.subject}: {made.verdict}{version}{f': {made.problem}' if made.problem else ''}")
    click.get_current_context().exit(1 if refused else 0)


def _settings() -> Config:
    named, usual = named_config(), Path("config.toml")
    if named is None and not usual.exists():
        return _default_settings()
    return load_config(named or usual, environ=os.environ, with_secrets=False)


def _default_settings() -> Config:
    example = ConnectionConfig(
        name=ConnectionName("example"),
        platform_url="https://api.mews.com",
        client_token=Secret("none"),
        access_token=Secret("none"),
        entity_types=tuple(EntityType),
    )
    return Config(connections=(example,))
