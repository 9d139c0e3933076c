"""Pins the jars of an Apache Kafka release; run by `scripts/lock-kafka`."""

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jgo

PINS = Path(__file__).resolve().parent.parent / "streamer" / "sandbox" / "kafka-jars.json"


def main(version: str) -> None:
    # slf4j-simple, because the coordinates of a log4j binding would bring that project's managed versions
    # along, and with them an older kafka-clients; 1.7.36 is the last of the line that Kafka's slf4j-api
    # belongs to.
    artifacts = jgo.resolve(f"org.apache.kafka:kafka_2.13:{version}+org.slf4j:slf4j-simple:1.7.36")
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
    PINS.write_text(json.dumps(pins, indent=2) + "\n")
    print(f"lock-kafka: {len(pins)} jars of Apache Kafka {version}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: scripts/lock-kafka VERSION")
    main(sys.argv[1])
