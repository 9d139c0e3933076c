"""`streamer simulator`: the simulator as a process of its own."""

import asyncio
import contextlib
import json
import re
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import click
import msgspec
import structlog

from streamer.sandbox.entities import ENTITY_TYPES
from streamer.sandbox.moving_lines import ENTERPRISES
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings

DEFAULTS = SimulatorSettings()
SHARE = click.FloatRange(0, 1)


def run_simulator(settings: SimulatorSettings) -> None:
    """Serves until SIGTERM or SIGINT. One line of JSON on stdout, `{"url": ...}`, says that it listens."""
    if not structlog.is_configured():
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.stderr))
    asyncio.run(_serve(settings))


async def _serve(settings: SimulatorSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Simulator(settings) as simulator:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(json.dumps({"url": simulator.url}) + "\n")
            sys.stdout.flush()
        await stop.wait()


def _counts(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    """`Customer=500` counts one type, a bare number all of them (kept under the empty name)."""
    counts: dict[str, int] = {}
    for value in values:
        name, count = value.split("=", 1) if "=" in value else ("", value)
        if (name and name not in ENTITY_TYPES) or not count.isdecimal():
            raise click.BadParameter(f"{value!r} is neither N nor TYPE=N; types: {', '.join(ENTITY_TYPES)}")
        counts[name] = int(count)
    return counts


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    try:
        return None if value is None else msgspec.convert(value, Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError as exc:
        raise click.BadParameter(f"{value!r} is no time as 2026-03-01T00:00:00Z") from exc


def _reaches(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[int, tuple[int, ...]]:
    reach: dict[int, tuple[int, ...]] = {}
    for value in values:
        if not re.fullmatch(rf"\d+=[0-{ENTERPRISES - 1}](,[0-{ENTERPRISES - 1}])*", value):
            raise click.BadParameter(f"{value!r} is not TOKEN=ENTERPRISES, numbers from 0 to {ENTERPRISES - 1}")
        token, enterprises = value.split("=")
        reach[int(token)] = tuple(int(number) for number in enterprises.split(","))
    return reach


@click.command(context_settings={"show_default": True})
@click.option("--host", default=DEFAULTS.host, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULTS.port, help="Port to listen on; 0: a free one.")
@click.option("--client-token", default=DEFAULTS.client_token, help="The ClientToken that is accepted.")
@click.option(
    "--access-token", "access_tokens", multiple=True, default=DEFAULTS.access_tokens,
    help="An AccessToken that is accepted; may be repeated.",
)  # fmt: skip
@click.option("--seed", type=int, default=DEFAULTS.seed, help="The same seed makes the same entities.")
@click.option(
    "--entities", "counts", multiple=True, metavar="N|TYPE=N", callback=_counts,
    show_default=str(DEFAULTS.entities),
    help="Entities of each type, or of one: --entities 1000 --entities OrderItem=5000000. "
    "Of LedgerEntry: entries a year.",
)  # fmt: skip
@click.option(
    "--bytes-per-type",
    type=click.IntRange(0),
    help="About so many bytes in a snapshot, instead of counting entities.",
)
@click.option("--files", type=click.IntRange(1), default=DEFAULTS.files, help="Files of an export.")
@click.option(
    "--lines", type=click.Choice(["lifelike", "fixed"]), default=DEFAULTS.lines,
    help="Lifelike entities, or plain ones of a fixed length for measuring.",
)  # fmt: skip
@click.option(
    "--line-bytes",
    type=click.IntRange(150),
    help="Length of a fixed line without its newline; implies --lines fixed.",
)
@click.option(
    "--cycle-seconds", type=click.IntRange(1), default=DEFAULTS.cycle_seconds,
    help="In this time each entity is updated once: the shorter, the fuller a window.",
)  # fmt: skip
@click.option("--updates/--no-updates", default=DEFAULTS.updates, help="Whether entities are updated at all.")
@click.option(
    "--moving/--resting", default=DEFAULTS.moving,
    help="Whether the data move: entities are created, updated, merged and deleted as the clock runs. Slower to "
    "write, and without --lines and --bytes-per-type.",
)  # fmt: skip
@click.option(
    "--start", metavar="TIME", callback=_moment, show_default="now",
    help="What the clock shows at first, as 2026-03-01T00:00:00Z, and when the data begin to move.",
)  # fmt: skip
@click.option(
    "--speed", type=click.FloatRange(0), default=DEFAULTS.speed,
    help="Seconds of the clock in a second, 86400 for a day; 0: it stands still. The times below are seconds of the "
    "machine all the same.",
)  # fmt: skip
@click.option(
    "--births-a-day", type=click.FloatRange(0), default=DEFAULTS.births_a_day,
    help="New entities in a day, as a share of all.",
)  # fmt: skip
@click.option(
    "--mortal-share", type=SHARE, default=DEFAULTS.mortal_share,
    help="Share of the entities that are deleted for good within 40 days; profiles and ledger entries never are.",
)  # fmt: skip
@click.option(
    "--merged-share", type=SHARE, default=DEFAULTS.merged_share,
    help="Share of the customers and companies that are merged into another some day.",
)  # fmt: skip
@click.option(
    "--late-share", type=SHARE, default=DEFAULTS.late_share,
    help="Share of the updates that show later than their UpdatedUtc ...",
)  # fmt: skip
@click.option("--late-seconds", type=click.IntRange(0), default=DEFAULTS.late_seconds, help="... by so much at most.")
@click.option(
    "--stale-seconds", type=click.IntRange(0), default=DEFAULTS.stale_seconds,
    help="Let snapshots hold a moment up to so long before their request, worse than the API promises.",
)  # fmt: skip
@click.option(
    "--reach", metavar="TOKEN=ENTERPRISES", multiple=True, callback=_reaches,
    help="Enterprises that an access token reaches, all by number: --reach 0=0,1 --reach 1=2. Default: all three.",
)  # fmt: skip
@click.option(
    "--pending-seconds",
    type=click.FloatRange(0),
    default=DEFAULTS.pending_seconds,
    help="An export stays Pending.",
)
@click.option(
    "--processing-seconds", type=click.FloatRange(0), default=DEFAULTS.processing_seconds,
    help="An export stays Processing.",
)  # fmt: skip
@click.option(
    "--retention-seconds", type=click.FloatRange(0), default=DEFAULTS.retention_seconds,
    help="Files of an export are kept.",
)  # fmt: skip
@click.option("--link-seconds", type=click.FloatRange(0), default=DEFAULTS.link_seconds, help="A link is valid.")
@click.option("--filters-refused", is_flag=True, help="Answer Filters and Scope with 400.")
@click.option(
    "--unknown-ids", type=click.Choice(["left_out", "refused"]), default=DEFAULTS.unknown_ids,
    help="What getAll does with ids that it does not know.",
)  # fmt: skip
@click.option("--etags/--no-etags", default=DEFAULTS.etags, help="Whether files have an ETag.")
@click.option("--rate-limit", type=click.IntRange(1), default=DEFAULTS.rate_limit, help="Requests per access token ...")
@click.option("--rate-seconds", type=click.FloatRange(0), default=DEFAULTS.rate_seconds, help="... within this time.")
@click.option("--bytes-per-second", type=click.FloatRange(1), help="Cap on the bandwidth of a download.")
def simulator(counts: Mapping[str, int], line_bytes: int | None, **options: Any) -> None:
    """Plays the Mews export API on this machine, with made-up data and trouble to order.

    Prints one line of JSON with its URL when it listens, and serves until SIGTERM or SIGINT. Faults, exact
    file contents and the clock are set under URL/_control/, from this machine only.

    With --moving the data live: --speed 86400 --moving makes a day pass in every second. An export holds the
    state of one moment between its request and its success. Under URL/_control/, GET truth/TYPE tells all that
    is there now (?at=TIME: was there then, ?token=N: for another token), GET deleted/TYPE who is gone since when,
    POST clock takes {"advance": seconds}, {"now": time}, {"speed": number} and {"still": true}, which lets the
    clock go on while the data stand still, and PUT reach/TOKEN takes {"enterprises": [0, 2]}.
    """
    if line_bytes is not None:
        options |= {"lines": "fixed", "line_bytes": line_bytes}
    by_type = {name: count for name, count in counts.items() if name}
    settings = SimulatorSettings(**options, entities=counts.get("", DEFAULTS.entities), entities_by_type=by_type)
    run_simulator(settings)
