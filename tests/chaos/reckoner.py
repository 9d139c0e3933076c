"""The reckoning in a process of its own, so that it takes no time from the proxy and the simulator of the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamer.sandbox.entities import page
from streamer.sandbox.export_files import ExportFile, GeneratedFile
from tests.chaos.reckoning import Commit, Place, Reckoning
from tests.committed import committed_consumer, partitions_of, record_of
from tests.facts import Served, slug
from tests.leaks import leaks

SHOWN = 20
TELL_SECONDS = 1.0
SETTLE_SECONDS = 0.5
SEARCH_BYTES = 2**18
STUCK_SECONDS = 180.0


@dataclass(frozen=True)
class Subject:
    """What is to be read, and what must not be found in it."""

    bootstrap_servers: str
    prefix: str
    connection: str
    entity_types: Sequence[str]
    secrets: Sequence[str]
    seed: int
    line_bytes: int | None


@dataclass
class Verdict:
    """How far the reckoning is, and in the end what it comes to."""

    taken: int = 0
    verified: int = 0
    held: int = 0
    completed: int = 0
    failed: int = 0
    expired: int = 0
    blocked: int = 0
    records: int = 0
    dead_letters: int = 0
    size: int = 0
    cycles: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    differences: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    searched: int = 0
    commits: list[Commit] = field(default_factory=list)
    finished: bool = False


def told(export_id: str, entity_type: str, files: Sequence[ExportFile]) -> dict[str, Any]:
    """An export of the simulator in few bytes; the other process makes the same lines once more."""
    parts = [
        (f.rounds, f.end, f.ranges) if isinstance(f, GeneratedFile) else b"".join(f.read(0, f.size)) for f in files
    ]
    return {"export_id": export_id, "entity_type": entity_type, "parts": parts}


def reckon(subject: Subject, pipe: Connection) -> None:
    """Read and compare until told to finish; the process' main function.

    Takes ``("serve", told)``, ``("search", place, text)`` and ``("finish",)``; sends a ``Verdict`` every second.
    """
    _Reckoner(subject, pipe).run()


class _Reckoner:
    def __init__(self, subject: Subject, pipe: Connection) -> None:
        self._subject = subject
        self._pipe = pipe
        self._secrets: list[str] = []
        self._searched = self._waiting = 0
        self._unsearched: dict[str, list[bytes]] = {}
        self._positions: dict[Place, int] = {}
        self._finishing = False
        self._consumer = committed_consumer(
            subject.bootstrap_servers,
            **{
                "log_level": 0,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 65536,
                "reconnect.backoff.max.ms": 500,
            },
        )
        asking: dict[str, str | int | bool] = {"log_level": 0, "isolation.level": "read_uncommitted"}
        self._watermarks = committed_consumer(subject.bootstrap_servers, **asking)
        self._entity_topics = {f"{subject.prefix}.{slug(entity_type)}" for entity_type in subject.entity_types}
        names = ("exports", "checkpoints", "dead-letters", *map(slug, subject.entity_types))
        self._places = partitions_of(self._consumer, [f"{subject.prefix}.{name}" for name in names])
        self._by_topic: dict[str, list[TopicPartition]] = {}
        for place in self._places:
            self._by_topic.setdefault(place.topic, []).append(place)
        self._reckoning = Reckoning(
            {topic: len(places) for topic, places in self._by_topic.items()},
            subject.entity_types,
            prefix=subject.prefix,
            connection=subject.connection,
            ends=self._ends,
        )

    def run(self) -> None:
        self._consumer.assign(self._places)
        told_at = settled_at = 0.0
        while not self._finishing:
            self._hear()
            self._read(self._consumer)
            now = time.monotonic()
            if now - settled_at > SETTLE_SECONDS:
                self._reckoning.settle(self._positions)
                settled_at = time.monotonic()
            if now - told_at > TELL_SECONDS:
                self._pipe.send(self._verdict())
                told_at = now
        self._read_to_the_end()
        self._reckoning.finish()
        self._search_all()
        verdict = self._verdict()
        verdict.finished = True
        verdict.commits = self._reckoning.commits
        self._pipe.send(verdict)

    def _read_to_the_end(self) -> None:
        missing = {place: end for topic in self._by_topic for place, end in self._ends(topic).items()}
        deadline = time.monotonic() + STUCK_SECONDS
        while missing:
            before = self._reckoning.taken
            self._read(self._consumer)
            missing = {place: end for place, end in missing.items() if self._positions.get(place, 0) < end}
            self._reckoning.settle(self._positions)
            if self._reckoning.taken > before:
                deadline = time.monotonic() + STUCK_SECONDS
                self._pipe.send(self._verdict())
            if time.monotonic() > deadline:
                raise AssertionError(f"not readable to the end (open transactions?): {missing}, at {self._positions}")

    def _hear(self) -> None:
        while self._pipe.poll():
            match self._pipe.recv():
                case ("serve", export):
                    self._serve(**export)
                case ("search", place, text):
                    self._search(place, text)
                case ("finish",):
                    self._finishing = True
                case other:
                    raise AssertionError(f"nobody knows what to do with {other!r}")

    def _serve(self, *, export_id: str, entity_type: str, parts: Sequence[Any]) -> None:
        def contents(part: Any) -> bytes:
            if isinstance(part, bytes):
                return part
            lines = page(entity_type, self._subject.seed, self._subject.line_bytes)
            file = GeneratedFile(lines, *part)
            return b"".join(file.read(0, file.size))

        self._reckoning.serve(export_id, Served(entity_type, tuple(partial(contents, part) for part in parts)))

    def _read(self, consumer: Consumer) -> None:
        for message in consumer.consume(2000, 0.1):
            error = message.error()
            place, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
            if error is None:
                record = record_of(message)
                self._reckoning.take(record)
                self._positions[place] = offset + 1
                # What an entity topic holds is compared with what was served, byte for byte and headers too.
                if place[0] not in self._entity_topics:
                    headers = b" ".join(name.encode() + b"=" + value for name, value in record.headers)
                    self._search(f"topic {place[0]}", b" ".join((record.key or b"", record.value or b"", headers)))
            elif error.code() == KafkaError._PARTITION_EOF:
                # Tells of markers and aborted records too, which are never handed out.
                self._positions[place] = offset
            elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise KafkaException(error)

    def _search(self, place: str, text: bytes) -> None:
        """Look for secrets; what is short waits until there is more of it, as each search has its price."""
        self._searched += len(text)
        self._waiting += len(text)
        self._unsearched.setdefault(place, []).append(text)
        if self._waiting > SEARCH_BYTES:
            self._search_all()

    def _search_all(self) -> None:
        texts = {place: b"\n".join(parts) for place, parts in self._unsearched.items()}
        self._unsearched.clear()
        self._waiting = 0
        self._secrets += leaks(self._subject.secrets, texts)
        self._secrets += [
            f"a link's signature in {place}"
            for place, text in texts.items()
            if b"sig=" in text.replace(b"sig=***", b"")
        ]

    def _ends(self, topic: str) -> dict[Place, int]:
        """The high watermarks, however long a broker takes to tell them."""
        ends: dict[Place, int] = {}
        for place in self._by_topic[topic]:
            while (place.topic, place.partition) not in ends:
                try:
                    ends[place.topic, place.partition] = self._watermarks.get_watermark_offsets(place, timeout=5)[1]
                except KafkaException:
                    time.sleep(0.1)
        return ends

    def _verdict(self) -> Verdict:
        reckoning, found = self._reckoning, self._reckoning.differences
        return Verdict(
            taken=reckoning.taken,
            verified=reckoning.verified,
            held=reckoning.held,
            completed=reckoning.report.completed,
            failed=reckoning.failed,
            expired=reckoning.expired,
            blocked=reckoning.report.blocked,
            records=reckoning.report.records,
            dead_letters=reckoning.report.dead_letters,
            size=reckoning.report.size,
            cycles=reckoning.report.cycles,
            lost=sum(difference.startswith("missing:") for difference in found),
            doubled=sum(difference.startswith("repeated:") for difference in found),
            differing=len(found),
            differences=found[:SHOWN],
            secrets=self._secrets[:SHOWN],
            searched=self._searched,
        )
