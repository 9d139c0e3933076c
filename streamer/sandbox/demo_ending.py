"""The demo's end: reads everything back as a consumer does, compares it with what was served, and says so."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp
from rich.text import Text

from streamer.errors import FatalError
from streamer.sandbox.demo_proof import Verdict, total
from streamer.sandbox.demo_reader import Published, Sample, prove, read_completed
from streamer.sandbox.demo_screens import Screen
from streamer.sandbox.demo_view import event, judged, samples, size, whole_of
from streamer.sandbox.demo_watch import Watch
from streamer.sandbox.local_kafka import LocalKafka

EVENTS = "mews.exports"
_SHOWN = ("Reservation", "Customer", "OrderItem")
_PROOF = "Proof"


class Ending:
    """What comes after the last record."""

    def __init__(
        self,
        screen: Screen,
        *,
        kafka: LocalKafka,
        simulator: aiohttp.ClientSession,
        simulator_url: str,
        watch: Watch,
        folder: Path,
    ) -> None:
        self._screen = screen
        self._kafka = kafka
        self._simulator = simulator
        self._simulator_url = simulator_url
        self._watch = watch
        self._folder = folder
        self._left: asyncio.Event | None = None

    async def prove(self, *, seconds: Callable[[], float]) -> bool:
        """Compare, show a few records, sum up; whether every line is there once."""
        self._screen.picture.finished = True
        verdict, found, completed = await self._compare()
        self._screen.end()
        say, whole = self._screen.say, whole_of(self._screen.picture.streams)
        say()
        say(Text("What a read_committed consumer sees", style="bold"))
        for line in samples(found, 98):
            say(line)
        for line in event(EVENTS, completed["Reservation"].event):
            say(line)
        say()
        say(judged(verdict))
        say(
            f"{whole.records:,} records, {size(whole.size)} MB, {self._screen.picture.transactions:,} transactions "
            f"in {self._watch.meter.seconds:.1f} s, {seconds():.0f} s with all around; "
            f"{_times(self._watch.kills)}"
        )
        say()
        if not verdict.exactly_once:
            raise FatalError("records and lines differ; please report it, with the folder named below")
        say("Next: copy config.example.toml to config.toml, fill in [[connections]], then `streamer check` and")
        say("`streamer run`. README.md tells the rest. Kill it yourself: `streamer demo --kill 3`")
        return True

    async def stay(self) -> None:
        """Stay up until ``leave``, the daemon too; say how to look at things."""
        self._left = asyncio.Event()
        consume = self._write_consumer_script()
        for line in (
            "",
            f"Still up, until Ctrl-C:   Kafka {self._kafka.bootstrap_servers}   daemon pid {self._watch.pid}",
            f"  simulator  {self._simulator_url}/_control/state",
            f"  daemon     {self._watch.url}/api/streams  /metrics  /readyz",
            f"  topics     {consume} mews.reservation   or   {EVENTS} 50",
            f"             kcat -C -b {self._kafka.bootstrap_servers} -t mews.customer -o beginning -c 3",
            f"  logs       {self._folder}/*.log",
        ):
            self._screen.say(line)
        while not self._left.is_set():
            pid = self._watch.pid
            await self._watch.look_after()
            if self._watch.pid != pid:
                self._screen.say(f"The daemon has died and is started again: pid {self._watch.pid}")
            try:
                async with asyncio.timeout(0.5):
                    await self._left.wait()
            except TimeoutError:
                continue

    def leave(self) -> bool:
        """End ``stay``; False where it is not that far."""
        if self._left is not None:
            self._left.set()
        return self._left is not None

    async def _compare(self) -> tuple[Verdict, list[Sample], Mapping[str, Published]]:
        picture, bootstrap_servers = self._screen.picture, self._kafka.bootstrap_servers
        served = {export["id"]: export for export in await self._watch.exports()}
        completed = await read_completed(bootstrap_servers, EVENTS)
        expected, read = whole_of(picture.streams).records, 0

        def told(count: int) -> None:
            nonlocal read
            read += count
            self._screen.part(_PROOF, "busy", f"reading all topics back, {read:,} of {expected:,} records")

        told(0)
        verdicts: list[Verdict] = []
        found: dict[str, Sample] = {}
        for stream in picture.streams:
            export = completed.get(stream.entity_type)
            if export is None or export.export_id != stream.export_id:
                raise FatalError(f"{stream.entity_type} is done, but {EVENTS} has no export_completed of it")
            verdict, sample = await prove(
                export,
                bootstrap_servers=bootstrap_servers,
                simulator=self._simulator,
                served=served[export.export_id],
                told=told,
            )
            verdicts.append(verdict)
            if sample:
                found[stream.entity_type] = sample
        words = f"{read:,} records compared with the lines that were served, key and value, byte for byte"
        self._screen.part(_PROOF, "up", words)
        return total(verdicts), [found[name] for name in _SHOWN if name in found], completed

    def _write_consumer_script(self) -> Path:
        """A look at the topics for people who have no Kafka tools."""
        script = self._folder / "consume"
        command = [sys.executable, "-m", "streamer.sandbox.demo_consume", self._kafka.bootstrap_servers]
        script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        script.chmod(0o700)
        return script


def _times(count: int) -> str:
    if not count:
        return "the daemon was left alone"
    return f"the daemon died {({1: 'once', 2: 'twice'}).get(count, f'{count} times')}"
