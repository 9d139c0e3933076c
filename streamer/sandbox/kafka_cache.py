"""Apache Kafka's classes, loaded and linked ahead of time (JEP 483): a broker then takes half as long to start.

It takes some twenty seconds to make and is kept in the user's cache, so it pays for those who start brokers again and
again: `scripts/test` makes it (`scripts/kafka_cache.py`), and every broker that is started uses it if it is there.
A Java that can't use it says so in the broker's log and starts as ever.
"""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from streamer.sandbox.kafka_jars import KafkaProgram

_FIRST_JAVA = 25
"""JEP 515 came with it; before, such a file held less or nothing."""

_MAKE_SECONDS = 300.0

# What can't be kept is told at every start, line by line, and harms nobody.
_QUIETLY = "-Xlog:disable", "-Xlog:all=error:stderr"


def cache_file(program: KafkaProgram) -> Path | None:
    """Where it lies, or would lie, for this Java and these jars; None where Java is too old for it."""
    release = Path(program.java).parent.parent / "release"
    with contextlib.suppress(OSError):
        version = release.read_text()
        if _major(version) >= _FIRST_JAVA:
            # Java itself compares path, size and time of each jar with what it saw.
            jars = "\n".join(f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in program.jars)
            digest = hashlib.sha256(f"{program.java}\n{version}\n{jars}".encode()).hexdigest()[:16]
            kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            return kept / "streamer" / f"kafka-{digest}.aot"
    return None


def options(program: KafkaProgram) -> tuple[str, ...]:
    """Java's options for a start with it, if it is there."""
    file = cache_file(program)
    return (f"-XX:AOTCache={file}", *_QUIETLY) if file is not None and file.exists() else ()


def options_to_record(configuration: Path) -> tuple[str, ...]:
    """Java's options for a run of which it is to be made: what was loaded is written to that file at its end."""
    return "-XX:AOTMode=record", f"-XX:AOTConfiguration={configuration}"


def make(program: KafkaProgram, configuration: Path, file: Path) -> None:
    """From what a run has recorded. Raises CalledProcessError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, and moved there when it is whole.
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".kafka-") as folder:
        made = Path(folder, file.name)
        creating = ("-XX:AOTMode=create", f"-XX:AOTConfiguration={configuration}", f"-XX:AOTCache={made}")
        subprocess.run(
            program.command("kafka.Kafka", options=creating),
            check=True,
            capture_output=True,
            timeout=_MAKE_SECONDS,
        )
        made.replace(file)


def _major(release: str) -> int:
    """Of `JAVA_VERSION="25.0.2"`, 25; 0 where there is no such line."""
    for line in release.splitlines():
        if line.startswith("JAVA_VERSION="):
            return int(line.partition('"')[2].partition(".")[0].strip('"') or 0)
    return 0
