"""A real PostgreSQL for one test run: the server of Debian's package, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from streamer.sandbox.kafka_ports import free_port

_PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql")


def _program(name: str) -> str:
    """``initdb`` and ``pg_ctl`` lie beside the server, which Debian puts into no PATH."""
    beside = sorted(str(found) for place in _PLACES for found in Path(place).glob(f"**/bin/{name}"))
    found = [*beside, *filter(None, [shutil.which(name)])]
    if not found:
        raise RuntimeError(f"{name} is not there: apt-get install postgresql")
    return found[-1]


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a new server's database. It refuses to run as root, so then it runs as nobody in particular."""
    # Not below pytest's folders, which only their owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="streamer-postgresql-"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    port, data = free_port(), folder / "data"

    def run(*command: str) -> None:
        with (folder / "log").open("ab") as log:
            done = subprocess.run(command, user=user, cwd=folder, check=False, stdout=log, stderr=log)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{(folder / 'log').read_text()[-4000:]}")

    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        run(_program("initdb"), "-D", str(data), "-A", "trust", "-U", "hotel", "--no-sync", "-E", "UTF8")
        run(_program("pg_ctl"), "-D", str(data), "-w", "-o", options, "-l", str(folder / "server"), "start")
        try:
            yield f"postgresql://hotel@127.0.0.1:{port}/postgres"
        finally:
            run(_program("pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
