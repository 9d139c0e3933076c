"""Makes what lets Apache Kafka start in half the time, unless it is there; for `scripts/test`.

A broker is started and stopped once; what it loaded is kept in the user's cache (`streamer/sandbox/kafka_cache.py`).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from streamer.sandbox import kafka_cache
from streamer.sandbox.kafka_jars import fetch_kafka
from streamer.sandbox.local_kafka import LocalKafka


def main() -> None:
    program = fetch_kafka()
    file = kafka_cache.cache_file(program)
    if file is None or file.exists():
        return
    print("test: loading Apache Kafka's classes ahead of time, once", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        recorded = Path(folder, "recorded")
        with LocalKafka(Path(folder, "kafka"), java_options=kafka_cache.options_to_record(recorded)):
            pass
        try:
            kafka_cache.make(program, recorded, file)
        except (OSError, subprocess.SubprocessError) as error:
            # Brokers start as ever, only slower.
            print(f"test: that did not work ({error}); going on without", file=sys.stderr)


if __name__ == "__main__":
    main()
