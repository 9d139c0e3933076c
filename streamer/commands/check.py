"""``streamer check``."""

from __future__ import annotations

import click

from streamer.commands.start import json_option, run_to_end, start, start_options
from streamer.commands.tables import console, print_json
from streamer.config import Config


@click.command()
@json_option
@start_options
def check(as_json: bool) -> None:
    """Whether settings, Kafka, Mews and clock are in order: one line each, with what to do.

    Changes nothing and asks for no export. Exits with 1 where a line says FAIL; `warn` keeps streamer from nothing.

    \b
    Examples:
      streamer check --config config.toml
      streamer check --json | jq '.findings[] | select(.verdict != "ok")'
    """
    # Its lines are the answer; what libraries have to say besides, also of errors, would hide them.
    settings = start(default_level="critical")
    run_to_end(lambda: _check(settings, as_json=as_json))


async def _check(config: Config, *, as_json: bool) -> int:
    from streamer.service.check import Finding, Verdict, findings

    colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}
    out = console()
    found: list[Finding] = []
    async for finding in findings(config):
        found.append(finding)
        if not as_json:
            # A line as soon as it is known: what is not there keeps one waiting.
            out.print(f"{finding.verdict:<4}", style=colours[finding.verdict], end=" ")
            to_do = f" -> {finding.to_do}" if finding.to_do else ""
            out.print(f"{finding.what}: {finding.result}{to_do}", soft_wrap=True)
    if as_json:
        print_json({"findings": found})
    return 1 if any(finding.verdict is Verdict.FAIL for finding in found) else 0
