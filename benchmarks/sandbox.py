"""The simulator as a process, and the few calls of its API and control endpoint that a benchmark needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from benchmarks.measured import MeasuredProcess

CLIENT_TOKEN = "benchmark-client"  # noqa: S105 (opens nothing but the simulator)
ACCESS_TOKEN = "benchmark-access"  # noqa: S105
_START_SECONDS = 60.0
_API = "/api/connector/v1/exports"


class SimulatorProcess:
    """A simulator whose exports have files of lines that are all equally long.

    They are ready at once, or stay pending, and then processing, for ``phase_seconds`` each.
    """

    def __init__(
        self,
        *,
        line_bytes: int,
        export_bytes: int,
        files: int,
        access_tokens: Sequence[str] = (ACCESS_TOKEN,),
        phase_seconds: float = 0.0,
    ) -> None:
        command = [
            *(sys.executable, "-m", "streamer", "simulator", "--client-token", CLIENT_TOKEN),
            *(argument for token in access_tokens for argument in ("--access-token", token)),
            *("--line-bytes", str(line_bytes), "--bytes-per-type", str(export_bytes), "--files", str(files)),
            *("--pending-seconds", str(phase_seconds), "--processing-seconds", str(phase_seconds), "--no-updates"),
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.url = ""

    def __enter__(self) -> Self:
        try:
            assert self._process.stdout is not None
            self.url = json.loads(self._process.stdout.readline() or "{}")["url"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def add_export(self, entity_type: str) -> dict[str, Any]:
        """An export with its links, asked for without the daemon."""
        added = self._call("POST", f"{_API}/add", self._credentials | {"EntityType": entity_type})
        wanted = self._credentials | {"ExportIds": [added["Export"]["Id"]]}
        for _ in range(50):
            (export,) = self._call("POST", f"{_API}/getAll", wanted)["Exports"]
            if export["Status"] == "Success":
                return dict(export)
            time.sleep(0.1)
        raise TimeoutError("the simulator's export does not get ready")

    def hold_files(self, link: str | None) -> None:
        """Keep back the answers to all requests for a file, until ``release``; then send whoever asked to ``link``."""
        self._send_to(link)
        self._call("POST", "/_control/faults", {"on": "file", "times": None, "action": {"name": "hold"}})

    def wait_for_held(self, count: int, processes: Callable[[], Iterable[MeasuredProcess]]) -> None:
        """Until so many requests for files wait. Raises ``RuntimeError`` where one of who is to ask has ended."""
        deadline = time.monotonic() + _START_SECONDS
        while len(self._call("GET", "/_control/state")["held"]) < count:
            for process in processes():
                if process.ended() or time.monotonic() > deadline:
                    raise RuntimeError(f"no file was asked for:\n{process.log_tail()}")
            time.sleep(0.05)

    def release(self, link: str | None) -> None:
        """Answer what was held, and hold nothing any more; with ``link``, go on sending everybody there."""
        self._call("DELETE", "/_control/faults")
        self._send_to(link)

    def _send_to(self, link: str | None) -> None:
        if link is not None:
            redirect = {"name": "redirect", "location": link}
            self._call("POST", "/_control/faults", {"on": "file", "times": None, "action": redirect})

    @property
    def _credentials(self) -> dict[str, Any]:
        return {"ClientToken": CLIENT_TOKEN, "AccessToken": ACCESS_TOKEN, "Client": "benchmark"}

    def _call(self, method: str, path: str, body: object = None, *, timeout: float = 30.0) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 (the address is the simulator's)
            self.url + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return json.loads(answer.read())


def environment_of_children() -> dict[str, str]:
    """The environment without settings of streamer's that the machine may have, with the simulator's tokens."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMER_")}
    return kept | {"BENCHMARK_CLIENT_TOKEN": CLIENT_TOKEN, "BENCHMARK_ACCESS_TOKEN": ACCESS_TOKEN}
