"""``streamer signal``."""

from __future__ import annotations

import click

from streamer.commands.start import run_to_end, start, start_options
from streamer.config import Config
from streamer.config_values import suggestion
from streamer.core.signals import (
    EVERYBODY,
    NAMES,
    AdoptExport,
    Erase,
    Retire,
    Signal,
    SignalError,
    SnapshotNow,
    encode_signal,
    parse_signal,
)
from streamer.errors import ConfigError, FatalError

_WRITTEN_HERE = tuple(name for name in NAMES if name != "replay")
"""`streamer dead-letters replay` knows where each letter is, which nobody types."""


@click.command()
@click.argument("name", type=click.Choice(_WRITTEN_HERE, case_sensitive=False))
@click.argument("key")
@click.option("--everything", is_flag=True, help="snapshot_now: publish every line, also what the topic says already.")
@click.option("--export-id", metavar="ID", help="adopt_export: the id, from the log's export_accepted.")
@click.option("--id", "id_", metavar="ID", help="erase: whom, by the Id that is the key in the topic.")
@click.option("--repeat", metavar="KEY", help="retire: the key once more, since all its entities get tombstones.")
@click.option(
    "--no-shared-keys", is_flag=True, help="retire: no other connection has any of its customers or companies."
)
@start_options
def signal(
    name: str,
    key: str,
    everything: bool,
    export_id: str | None,
    id_: str | None,
    repeat: str | None,
    no_shared_keys: bool,
) -> None:
    """Tells running streams to do something; KEY is that of a stream, or * for all.

    Each stream answers in the topic of events, with signal_applied or signal_rejected.

    \b
      snapshot_now          a snapshot as soon as no other export is under way
      window_now            a window as soon as no other export is under way
      pause, resume         stop where it is, also within an export; go on there
      retry                 a stopped stream tries again at once
      abandon_export        give the export under way up and ask for a new one
      adopt_export          take this export for the answer to a request that is blocked
      let_tombstones_through   write those of the next snapshot however many they are
      retire                tombstones for all entities of a stream that is not configured any more
      erase                 a tombstone for one entity, which stays out for as long as Mews goes on sending it

    \b
    Examples:
      streamer signal pause alpine-hotels/Reservation
      streamer signal snapshot_now '*' --everything
      streamer signal retry alpine-hotels/Bill
      streamer signal retire sold-hotel/Bill --repeat sold-hotel/Bill
    """
    settings = start(default_level="error")
    if name == "erase":
        asked: Signal = _erase(id_)
    elif id_:
        raise ConfigError("", "--id is for erase")
    else:
        asked = _signal(name, everything=everything, export_id=export_id, repeat=repeat, no_shared_keys=no_shared_keys)
    _check_key(settings, asked, key)
    run_to_end(lambda: _write(settings, asked, key))


async def _write(config: Config, asked: Signal, key: str) -> int:
    from streamer.kafka.signals import write_signal
    from streamer.service.looking import stream_table

    if isinstance(asked, Retire):
        async with stream_table(config) as entries:
            if key not in entries:
                raise FatalError(
                    f'no stream "{key}" was ever at work{suggestion(key, list(entries))}; nothing was written'
                )
    offset = await write_signal(config, key, asked)
    click.echo(f"written to {config.topics.signals} at offset {offset}; the answer comes in {config.topics.events}")
    return 0


def _signal(name: str, *, everything: bool, export_id: str | None, repeat: str | None, no_shared_keys: bool) -> Signal:
    for option, value, of in (
        ("--everything", everything, "snapshot_now"),
        ("--export-id", export_id, "adopt_export"),
        ("--repeat", repeat, "retire"),
        ("--no-shared-keys", no_shared_keys, "retire"),
    ):
        if value and name != of:
            raise ConfigError("", f"{option} is for {of}")
    if name == "snapshot_now":
        return SnapshotNow(changes_only=not everything)
    try:
        if name == "adopt_export":
            return parse_signal(encode_signal(AdoptExport(export_id or "")))
        if name == "retire":
            return Retire(repeat or "", shared_keys=not no_shared_keys)
        return parse_signal(b'{"signal": "%s"}' % name.encode())
    except SignalError:
        raise ConfigError("", "--export-id has to name an export, in lower case") from None


def _erase(id_: str | None) -> Signal:
    try:
        return parse_signal(encode_signal(Erase(id_ or "")))
    except SignalError:
        raise ConfigError("", "erase needs --id, the Id of one entity") from None


def _check_key(config: Config, asked: Signal, key: str) -> None:
    """Whoever hears the signal checks it again; here a mistake is found before anybody does."""
    known = [str(stream) for stream in config.streams()]
    if isinstance(asked, Retire):
        if key in known or key == EVERYBODY:
            raise ConfigError("", f"{key} is still configured; take it out of the settings of all replicas first")
        if asked.stream != key:
            raise ConfigError("", f"this removes all entities of {key} from its topic; if so: --repeat {key}")
        return
    if isinstance(asked, Erase) and key == EVERYBODY:
        raise ConfigError("", "an entity belongs to one stream: name it")
    if key != EVERYBODY and key not in known:
        raise ConfigError("", f'there is no stream "{key}"{suggestion(key, known)}; the settings have {known[0]}, …')
