"""The verifier while things go on: an export is compared as soon as it can be read whole, and then forgotten.

So millions of records need no more memory than the exports under way. A record of an export that is settled already is
one too many, whatever it says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tests.facts import Published, Record, Served, slug
from tests.verify import ENDS, Export, Verification

Place = tuple[str, int]
"""A topic's partition."""


@dataclass(frozen=True)
class Commit:
    """A checkpoint as the history of recoveries needs it: when it was written, by which process, in which phase."""

    at: float
    stream: str
    pid: int
    phase: str


class Reckoning(Verification):
    """``take`` every record, ``serve`` every export, ``settle`` now and then, ``finish`` at the end.

    ``ends`` tells the high watermarks of a topic's partitions: whoever has read so far has read all that was there.
    """

    def __init__(
        self,
        partitions: Mapping[str, int],
        entity_types: Iterable[str],
        *,
        prefix: str,
        connection: str,
        ends: Callable[[str], dict[Place, int]],
    ) -> None:
        self.served: dict[str, Served] = {}
        self.taken = 0
        self.verified = 0
        self.failed = 0
        self.expired = 0
        self.commits: list[Commit] = []
        self._partitions = partitions
        self._ends = ends
        self._ending: dict[str, dict[Place, int]] = {}
        self._settled: set[str] = set()
        super().__init__(Published({}, partitions), self.served, prefix=prefix, connection=connection)
        self._types = {slug(entity_type): entity_type for entity_type in entity_types}

    def serve(self, export_id: str, served: Served) -> None:
        """An export that Mews accepted, whoever heard of it."""
        self.served[export_id] = served

    def take(self, record: Record) -> None:
        self.taken += 1
        super().take(record)

    def settle(self, positions: Mapping[Place, int]) -> None:
        """Compare the exports that have ended and, by these positions, are read whole."""
        for export_id, ends in list(self._ending.items()):
            # Mews' side of it may come a little later than Kafka's.
            if export_id in self.served and all(positions.get(place, 0) >= end for place, end in ends.items()):
                self._settle(export_id)

    def finish(self) -> None:
        """All is read: compare what is left, and the histories."""
        for export_id in list(self._ending):
            self._settle(export_id)
        self._check_histories()
        for export_id, export in self._exports.items():
            if export_id not in self.served:
                self._differs(f"{export_id} of {export.stream} was never served")
            elif export.events or export.records or export.letters or export.cycles:
                self._check_export(export_id, export)

    @property
    def held(self) -> int:
        """How many records are kept for the exports under way."""
        return sum(len(export.records) + len(export.letters) for export in self._exports.values())

    @property
    def remembered(self) -> int:
        """How many records are kept to know what was said of a key before."""
        return sum(map(len, self._said.values()))

    def _export(self, export_id: str, stream: str, where: object) -> Export:
        if export_id in self._settled:
            self._differs(f"repeated: {where} belongs to export {export_id}, which had ended before")
        return self._exports.setdefault(export_id, Export(stream))

    def _take_event(self, record: Record) -> None:
        super()._take_event(record)
        event = json.loads(record.value or b"")
        if event["event"] not in ENDS or event["export_id"] in self._ending:
            return
        self.failed += event["event"] == "export_failed"
        self.expired += event["event"] == "export_expired"
        topic = f"{self._prefix}.{slug(event['entity_type'])}"
        # Reading is not atomic across topics, nor does an end that failed say where its records end: the
        # watermarks as they are now lie behind all of them, and behind its dead letters and checkpoints.
        self._ending[event["export_id"]] = {
            **self._ends(topic),
            **self._ends(f"{self._prefix}.dead-letters"),
            **self._ends(f"{self._prefix}.checkpoints"),
        }

    def _take_checkpoint(self, record: Record) -> None:
        super()._take_checkpoint(record)
        checkpoint = json.loads(record.value or b"{}")
        owner = str(checkpoint.get("owner", "")).split("/")
        pid = int(owner[1]) if len(owner) > 1 and owner[1].isdigit() else 0
        stream = (record.key or b"").decode()
        self.commits.append(Commit(record.timestamp / 1000, stream, pid, checkpoint["state"]["phase"]))

    def _settle(self, export_id: str) -> None:
        del self._ending[export_id]
        export = self._exports[export_id]
        if export_id not in self.served:
            self._differs(f"{export_id} of {export.stream} was never served")
        held: dict[str, list[Record]] = {}
        # All that may lie between the offsets of this export, in the one topic that it is in: others that are settled
        # show by their own ends.
        for other in self._exports.values():
            for record in other.records if other.stream == export.stream else ():
                held.setdefault(record.topic, []).append(record)
        self._published = Published(held, self._partitions)
        self._check_export(export_id, export)
        self.verified += len(export.records) + len(export.letters)
        del self._exports[export_id]
        self._settled.add(export_id)
        self._forget_older(export)

    def _forget_older(self, export: Export) -> None:
        """Of what was said of its keys, what nobody will ask for again: all but the newest of an export settled."""
        for record in (*export.records, *export.tombstones):
            said = self._said[record.topic.removeprefix(f"{self._prefix}."), record.key or b""]
            settled = [n for n, one in enumerate(said) if one.header("ce_id").partition("/")[0] in self._settled]
            if settled:
                del said[: settled[-1]]
