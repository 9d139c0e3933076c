"""``python -m benchmarks.probed URL SECONDS``: asks a daemon's probes again and again, as Kubernetes does.

Prints one line of JSON when it is ended by SIGTERM: ``took``, for each path the milliseconds that each answer took, and
of what the metrics said ``loop_delay``, the worst, in seconds, and ``restarts``, the producers replaced.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import sys
import time
from urllib.parse import urlsplit

PATHS = ("/livez", "/readyz", "/metrics")
SCRAPED_EVERY_SECONDS = 5.0
"""A Prometheus in a hurry; the probes are asked all the time."""


def ask(host: str, path: str) -> tuple[float, str]:
    """Milliseconds until the whole answer was there, and the answer. With a connection of its own."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return (time.monotonic() - started) * 1000, text


def sample(page: str, name: str) -> float:
    """A metric without labels."""
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def main(url: str, pause: float) -> None:
    host = urlsplit(url).netloc
    took: dict[str, list[float]] = {path: [] for path in PATHS}
    loop_delay = restarts = 0.0
    going_on = [True]
    signal.signal(signal.SIGTERM, lambda *_: going_on.clear())
    scraped_at = -SCRAPED_EVERY_SECONDS
    while going_on:
        for path in PATHS[:2]:
            took[path].append(ask(host, path)[0])
        if time.monotonic() - scraped_at >= SCRAPED_EVERY_SECONDS:
            scraped_at = time.monotonic()
            milliseconds, page = ask(host, "/metrics")
            took["/metrics"].append(milliseconds)
            loop_delay = max(loop_delay, sample(page, "streamer_loop_delay_seconds"))
            restarts = sample(page, "streamer_producer_restarts_total")
        time.sleep(pause)
    sys.stdout.write(json.dumps({"took": took, "loop_delay": loop_delay, "restarts": restarts}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
