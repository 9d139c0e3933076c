"""`streamer demo`: starts everything, watches the daemon work, starts it again when it dies, proves the result.

Whatever ends the demo, ``_clean_up`` runs, and awaits nothing: no second Ctrl-C can cut it short.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec
from rich.console import Console

from streamer.errors import FatalError, StreamerError
from streamer.logs import configure_logs
from streamer.sandbox.demo_ending import Ending
from streamer.sandbox.demo_processes import (
    Child,
    child_environment,
    daemon_config,
    how_it_ended,
    last_lines,
    simulator_command,
    streamer_command,
)
from streamer.sandbox.demo_screens import screen_for
from streamer.sandbox.demo_watch import Watch
from streamer.sandbox.kafka_jars import LocalKafkaError, fetch_kafka, pinned_jars
from streamer.sandbox.kafka_ports import free_port
from streamer.sandbox.local_kafka import LocalKafka

_SPACE_NEEDED = 1_000_000_000
_BYTES_PER_ENTITY = 11_600
"""Of all nine types together."""

KAFKA, SIMULATOR = "Apache Kafka", "Mews simulator"


class DemoOptions(msgspec.Struct, frozen=True):
    """What can be chosen."""

    entities: int = 40_000
    seed: int = 1
    kills: int = 0
    keep: bool = False


class _Stopped(BaseException):
    """Thrown into a download that nobody waits for any more; jgo catches every mere ``Exception``."""


class Demo:
    """One run. Everything it makes lies in one temporary folder."""

    def __init__(self, options: DemoOptions, console: Console) -> None:
        self._options = options
        self.screen = screen_for(console)
        """What is shown."""
        self._folder = Path()
        self._kafka: LocalKafka | None = None
        self._simulator: Child | None = None
        self._watch: Watch | None = None
        self._ending: Ending | None = None
        self._started = time.monotonic()

    def leave(self) -> bool:
        """Ctrl-C: whether that is the proper end, as it is while the demo only stays up for somebody to look."""
        return self._ending is not None and self._ending.leave()

    async def run(self) -> int:
        """The whole demo; 0 when every line is there once. Raises ``FatalError``."""
        keep_folder = False
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="streamer-demo-"))
            with (self._folder / "demo.log").open("w") as log:
                # aiokafka's warnings would tear the picture.
                configure_logs(stream=log)
                try:
                    return await self._run()
                finally:
                    configure_logs()
        except OSError as error:
            keep_folder = self._simulator is not None
            raise FatalError(self._explained(error)) from error
        except StreamerError as error:
            keep_folder = self._simulator is not None
            kept = f"\nThe folder {self._folder} was kept; delete it when you have looked." if keep_folder else ""
            raise FatalError(f"{error}{kept}") from error
        finally:
            self._clean_up(keep_folder=keep_folder)

    async def _run(self) -> int:
        self._check_space()
        await self._fetch_kafka()
        environ = child_environment(os.environ)
        self._simulator = Child(
            "the simulator",
            simulator_command(
                entities=self._options.entities, seed=self._options.seed, bytes_per_second=self._bandwidth()
            ),
            log=self._folder / "simulator.log",
            environ=environ,
        )
        self.screen.part(SIMULATOR, "busy", "starting")
        kafka = await self._start_kafka()
        url = await asyncio.to_thread(self._simulator.wait_for, "url")
        self.screen.part(SIMULATOR, "up", f"{url}   9 entity types, {self._options.entities:,} entities each")
        port = free_port()
        config = self._folder / "config.toml"
        config.write_text(daemon_config(bootstrap_servers=kafka.bootstrap_servers, platform_url=url, port=port))

        def start_daemon() -> Child:
            command = streamer_command("run", "--config", str(config))
            return Child("the daemon", command, log=self._folder / "daemon.log", environ=environ)

        async with aiohttp.ClientSession(url) as simulator:
            self._watch = Watch(
                start_daemon,
                screen=self.screen,
                url=f"http://127.0.0.1:{port}",
                simulator=simulator,
                kills=self._options.kills,
                check_others=self._check_others,
            )
            await self._watch.until_done()
            self._ending = Ending(
                self.screen,
                kafka=kafka,
                simulator=simulator,
                simulator_url=url,
                watch=self._watch,
                folder=self._folder,
            )
            whole = await self._ending.prove(seconds=lambda: time.monotonic() - self._started)
            if self._options.keep:
                await self._ending.stay()
        return 0 if whole else 1

    def _bandwidth(self) -> int | None:
        """With kills to come, downloads are slow enough to be killed in the middle, however little there is."""
        kills = self._options.kills
        return max(20_000, _BYTES_PER_ENTITY // 9 * self._options.entities // (2 * (kills + 1))) if kills else None

    def _check_space(self) -> None:
        needed = _SPACE_NEEDED + self._options.entities * _BYTES_PER_ENTITY // 4
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise FatalError(
                f"the demo needs about {needed / 1e9:.1f} GB in {self._folder.parent}, where {free / 1e9:.1f} GB are "
                "free; make room, name another folder with TMPDIR, or ask for fewer --entities"
            )

    async def _fetch_kafka(self) -> None:
        self.screen.part(KAFKA, "busy", "looking for it")
        stopped = False

        def progress(there: int, whole: int) -> None:
            if stopped:
                raise _Stopped
            loop.call_soon_threadsafe(
                self.screen.part, KAFKA, "busy", f"downloading, {there / 1e6:.1f} of {whole / 1e6:.1f} MB"
            )

        loop = asyncio.get_running_loop()
        fetching = asyncio.ensure_future(asyncio.to_thread(fetch_kafka, progress))
        try:
            await asyncio.shield(fetching)
        except asyncio.CancelledError:
            stopped = True
            await asyncio.wait({fetching})
            fetching.exception()
            raise
        except LocalKafkaError as error:
            if "could not be downloaded" not in str(error):
                raise
            raise FatalError(f"Apache Kafka can't be fetched; the first run needs the network: {error}") from error

    async def _start_kafka(self) -> LocalKafka:
        began = time.monotonic()
        kafka = self._kafka = LocalKafka(self._folder / "kafka")
        self.screen.part(KAFKA, "busy", "starting")
        starting = asyncio.ensure_future(asyncio.to_thread(kafka.start))
        try:
            while not (await asyncio.wait({starting}, timeout=0.5))[0]:
                self.screen.part(KAFKA, "busy", f"starting, {time.monotonic() - began:.0f} s")
            starting.result()
        except asyncio.CancelledError:
            while not starting.done():
                with contextlib.suppress(Exception):
                    kafka.kill()
                await asyncio.wait({starting}, timeout=0.1)
            starting.exception()
            raise
        version = next(jar.coordinate for jar in pinned_jars() if ":kafka-clients:" in jar.coordinate)
        seconds = time.monotonic() - began
        words = f"{kafka.bootstrap_servers}   version {version.rpartition(':')[2]}, up in {seconds:.1f} s"
        self.screen.part(KAFKA, "up", words)
        return kafka

    def _check_others(self) -> None:
        """Raise ``FatalError`` unless Kafka and the simulator still run."""
        if self._kafka is not None and not self._kafka.running:
            raise FatalError(f"Apache Kafka has ended{self._full_disk()}\n{last_lines(self._kafka.log_file)}")
        if self._simulator is not None and (code := self._simulator.ended) is not None:
            raise FatalError(
                f"the simulator {how_it_ended(code)}{self._full_disk()}\n{last_lines(self._simulator.log)}"
            )

    def _full_disk(self) -> str:
        full = shutil.disk_usage(self._folder).free < 20_000_000
        return f": there is no space left in {self._folder.parent}" if full else ""

    def _explained(self, error: OSError) -> str:
        where = error.filename or self._folder.parent
        if error.errno == errno.ENOSPC:
            return f"there is no space left for {where}; make room, or name another folder with TMPDIR"
        return f"{where} can't be used: {error.strerror or error}"

    def _clean_up(self, *, keep_folder: bool) -> None:
        steps: list[Callable[[], object]] = [self.screen.close]
        if self._watch is not None:
            steps.append(self._watch.kill)
        if self._simulator is not None:
            steps.append(self._simulator.kill)
        if self._kafka is not None:
            steps.append(self._kafka.kill)
        for step in steps:
            # Whatever one of them meets, the others' turn must come; and the watchdogs remain.
            with contextlib.suppress(Exception):
                step()
        if not keep_folder and self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)
