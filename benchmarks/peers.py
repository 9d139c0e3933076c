"""What else one would run for the job, each as a command: programs that are not here are left out, and said so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from benchmarks.peer_task import PeerTask

_KCAT = (
    "kcat -P -b {servers} -t {topic} -z {compression} -X enable.idempotence=true -X linger.ms=20"
    " -X batch.size=1000000 -X queue.buffering.max.messages=500000"
)
_CURL = 'curl -sSfL "{link}"'
_BENTO_SETTINGS = Path(__file__).parent / "bento" / "bento.yaml"
_KEY_IN_FRONT = r"""LC_ALL=C sed 's/^{{"Id":"\([^"]*\)"/\1\t&/'"""


class Peer(msgspec.Struct, frozen=True):
    """``command`` of a task; ``missing`` tells what has to be installed, empty where all is there."""

    name: str
    command: Callable[[PeerTask], list[str]]
    missing: str
    headers: bool
    """Whether it can write headers that differ from record to record."""
    most_lines: int | None = None
    """So many of the first lines are enough, since it is slow."""


def peers(directory: Path, wanted: Collection[str]) -> list[Peer]:
    """All that are known here; builds what has to be built, if it is wanted, below ``directory``."""
    no_kcat = "" if shutil.which("kcat") and shutil.which("curl") else "kcat or curl is not installed"
    return [
        Peer("naive", lambda task: _python("benchmarks.naive_publisher", task), "", headers=True, most_lines=100_000),
        Peer("batch-script", lambda task: _python("benchmarks.batch_publisher", task), "", headers=True),
        Peer("confluent", lambda task: _python("benchmarks.confluent_publisher", task), "", headers=True),
        Peer("franz-go", *_franz(directory, build="franz-go" in wanted), headers=True),
        Peer("kcat", lambda task: _shell(f"{_CURL} | {_KCAT}", task), no_kcat, headers=False),
        Peer(
            "kcat-keyed",
            lambda task: _shell(
                f'{_CURL} | {_KEY_IN_FRONT} | {_KCAT} -K "\t" -X topic.partitioner=murmur2_random', task
            ),
            no_kcat,
            headers=False,
        ),
        Peer("bento", *_bento(directory, build="bento" in wanted), headers=False),
    ]


def _python(module: str, task: PeerTask) -> list[str]:
    return [sys.executable, "-m", module, msgspec.json.encode(task).decode()]


def _shell(pipeline: str, task: PeerTask) -> list[str]:
    words = {
        "servers": task.bootstrap_servers,
        "topic": task.topic,
        "compression": task.compression,
        "link": task.link,
    }
    return ["bash", "-o", "pipefail", "-c", pipeline.format(**words)]


def _franz(directory: Path, *, build: bool) -> tuple[Callable[[PeerTask], list[str]], str]:
    program, missing = _built("franz", directory, build)
    return lambda task: [program, msgspec.json.encode(task).decode()], missing


def _bento(directory: Path, *, build: bool) -> tuple[Callable[[PeerTask], list[str]], str]:
    program, missing = _built("bento", directory, build)

    def command(task: PeerTask) -> list[str]:
        settings = {
            "LINK": task.link,
            "SERVERS": task.bootstrap_servers,
            "TOPIC": task.topic,
            "COMPRESSION": task.compression,
        }
        return ["env", *(f"{name}={text}" for name, text in settings.items()), program, "-c", str(_BENTO_SETTINGS)]

    return command, missing


def _built(name: str, directory: Path, build: bool) -> tuple[str, str]:
    """The program of a folder of Go beside this file, and why there is none."""
    program = directory / f"{name}-program"
    if not build:
        return str(program), "it was not built"
    go = shutil.which("go")
    if go is None:
        return str(program), "go is not installed"
    source = directory / name
    shutil.copytree(Path(__file__).parent / name, source)
    built = subprocess.run(
        [go, "build", "-mod=mod", "-buildvcs=false", "-o", str(program), "."],
        cwd=source,
        env=os.environ | {"GOFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return str(program), "" if not built.returncode else f"it can't be built: {built.stderr.strip()[-200:]}"
