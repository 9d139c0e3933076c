"""Pins the jars of an Apache Kafka release; run by `scripts/lock-kafka`."""

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jgo

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {
    ROOT / "streamer" / "sandbox" / "kafka-jars.json": ("kafka_2.13",),
    ROOT / "benchmarks" / "connect-jars.json": ("connect-runtime", "connect-file"),
}
"""Where the pins of a program are, and the artifacts that it is made of."""


def main(version: str) -> None:
    for pins, names in PROGRAMS.items():
        pin(version, names, pins)


def pin(version: str, names: tuple[str, ...], place: Path) -> None:
    # slf4j-simple, because the coordinates of a log4j binding would bring that project's managed versions
    # along, and with them an older kafka-clients; 1.7.36 is the last of the line that Kafka's slf4j-api
    # belongs to.
    wanted = [*(f"org.apache.kafka:{name}:{version}" for name in names), "org.slf4j:slf4j-simple:1.7.36"]
    artifacts = jgo.resolve("+".join(wanted))
    mixed = [
        str(artifact)
        for artifact in artifacts
        if artifact.groupId == "org.apache.kafka" and artifact.version != version
    ]
    if mixed:
        sys.exit(f"lock-kafka: parts of another release: {', '.join(mixed)}")
    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(lambda artifact: artifact.resolve(), artifacts))
    pins = [
        {
            "coordinate": f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}",
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for artifact, path in zip(artifacts, paths, strict=True)
    ]
    pins.sort(key=lambda pin: str(pin["coordinate"]))
    place.write_text(json.dumps(pins, indent=2) + "\n")
    print(f"lock-kafka: {len(pins)} jars of Apache Kafka {version} in {place.name}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: scripts/lock-kafka VERSION")
    main(sys.argv[1])
