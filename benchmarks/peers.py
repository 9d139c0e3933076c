"""What else one would run for the job, each as a command: programs that are not here are left out, and said so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.peer_task import PeerTask

_KCAT = (
    "kcat -P -b {servers} -t {topic} -z {compression} -X enable.idempotence=true -X linger.ms=20"
    " -X batch.size=1000000 -X queue.buffering.max.messages=500000"
)
_KEY_IN_FRONT = r"""LC_ALL=C sed 's/^{{"Id":"\([^"]*\)"/\1\t&/'"""


class Peer(msgspec.Struct, frozen=True):
    """``command`` of a task; ``missing`` tells what has to be installed, empty where all is there."""

    name: str
    command: Callable[[PeerTask], list[str]]
    missing: str
    headers: bool
    """Whether it can write headers that differ from record to record."""


def peers(directory: Path) -> list[Peer]:
    """All that are known here; builds what has to be built, below ``directory``."""
    no_kcat = "" if shutil.which("kcat") and shutil.which("curl") else "kcat or curl is not installed"
    return [
        Peer("confluent", _confluent, "", headers=True),
        Peer("franz-go", *_franz(directory), headers=True),
        Peer("kcat", lambda task: _shell(f'curl -sSf "{{link}}" | {_KCAT}', task), no_kcat, headers=False),
        Peer(
            "kcat-keyed",
            lambda task: _shell(
                f'curl -sSf "{{link}}" | {_KEY_IN_FRONT} | {_KCAT} -K "\t" -X topic.partitioner=murmur2_random', task
            ),
            no_kcat,
            headers=False,
        ),
    ]


def _confluent(task: PeerTask) -> list[str]:
    return [sys.executable, "-m", "benchmarks.confluent_publisher", msgspec.json.encode(task).decode()]


def _shell(pipeline: str, task: PeerTask) -> list[str]:
    words = {
        "servers": task.bootstrap_servers,
        "topic": task.topic,
        "compression": task.compression,
        "link": task.link,
    }
    return ["bash", "-o", "pipefail", "-c", pipeline.format(**words)]


def _franz(directory: Path) -> tuple[Callable[[PeerTask], list[str]], str]:
    program = directory / "franz"

    def command(task: PeerTask) -> list[str]:
        return [str(program), msgspec.json.encode(task).decode()]

    go = shutil.which("go")
    if go is None:
        return command, "go is not installed"
    source = directory / "franz-source"
    shutil.copytree(Path(__file__).parent / "franz", source)
    built = subprocess.run(
        [go, "build", "-mod=mod", "-buildvcs=false", "-o", str(program), "."],
        cwd=source,
        env=os.environ | {"GOFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return command, "" if not built.returncode else f"it can't be built: {built.stderr.strip()[-200:]}"
