"""nginx as the host of an export's files, so that whoever publishes is measured and not whoever serves.

The simulator goes on answering the API, and holds and redirects the first request for a file; the bytes come from here.
They were made once, by the simulator, from its seed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Self

from benchmarks.sandbox import SimulatorProcess
from streamer.sandbox.kafka_ports import free_port

_COPY_BYTES = 1 << 20
_START_SECONDS = 10.0
# Debian's nginx lies where only root looks for programs.
_NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

_CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
error_log {folder}/error.log;
pid {folder}/pid;
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


class FileHost:
    """Serves files by their length of lines and size; ``None`` of it where nginx is not installed, see ``here``."""

    def __init__(self, nginx: str, folder: Path) -> None:
        self._folder = folder
        self._files = folder / "files"
        self._files.mkdir(parents=True)
        self._port = free_port()
        configuration = folder / "nginx.conf"
        # Started by root, its worker would be another user, who can't get here.
        user = "" if os.getuid() else "user root;"
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=self._port, user=user))
        self._command = [nginx, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")]
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def here(cls, folder: Path) -> FileHost | None:
        """One that keeps its files below ``folder``, where there is an nginx."""
        return cls(_NGINX, folder) if _NGINX else None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self._port)):
                    return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx does not start: {(self._folder / 'error.log').read_text()[-500:]}")
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def path(self, line_bytes: int, file_bytes: int) -> Path:
        """The file on disk; made where it isn't there yet. Those of other sizes are dropped, for the sake of room."""
        place = self._files / f"{line_bytes}-{file_bytes}.jsonl"
        if not place.exists():
            for other in self._files.iterdir():
                other.unlink()
            making = place.with_suffix(".part")
            with SimulatorProcess(line_bytes=line_bytes, export_bytes=file_bytes, files=1) as simulator:
                (file,) = simulator.add_export("Reservation")["Files"]
                with urllib.request.urlopen(file["Url"]) as body, making.open("wb") as out:  # noqa: S310
                    shutil.copyfileobj(body, out, _COPY_BYTES)
            making.rename(place)
        return place

    def link(self, line_bytes: int, file_bytes: int) -> str:
        """Where it is served."""
        return f"http://127.0.0.1:{self._port}/{self.path(line_bytes, file_bytes).name}"
