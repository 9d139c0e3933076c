"""Whether every line that was served is a record, once and byte for byte: two lists of fingerprints, compared."""

from __future__ import annotations

import array
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

_FILE_BITS = 44
"""A line's place in an export as one number: its file above, its byte offset below these bits."""


class _Entity(msgspec.Struct):
    Id: str


_decode_id = msgspec.json.Decoder(_Entity)


class Verdict(msgspec.Struct, frozen=True):
    """What the comparison has found; all but the first two are 0 where every line is there once."""

    lines: int = 0
    records: int = 0
    missing: int = 0
    """Lines without a record."""
    doubled: int = 0
    """Records beyond the first of a line."""
    altered: int = 0
    """Records whose key or value is not that of their line."""
    foreign: int = 0
    """Records of no line that was served."""
    contradictions: int = 0
    """Partitions whose records are not those that `export_completed` counts and sums up."""

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(*(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other))))  # noqa: B905

    @property
    def exactly_once(self) -> bool:
        return self.lines == self.records and not any(msgspec.structs.astuple(self)[2:])


class Fingerprints:
    """A place and a hash for each of many lines; some 20 bytes each."""

    def __init__(self) -> None:
        self._places = array.array("q")
        self._hashes = array.array("Q")
        self._partitions = array.array("h")

    def __len__(self) -> int:
        return len(self._places)

    def add_file(self, file: int, content: bytes) -> None:
        """The lines of a file as it was served, each with the key that it should get."""
        offset = 0
        for line in content.split(b"\n"):
            if line:
                key = _decode_id.decode(line).Id.encode()
                self._places.append(file << _FILE_BITS | offset)
                self._hashes.append(xxh3_64_intdigest(b"%b\0%b" % (key, line)))
            offset += len(line) + 1

    def add_record(self, export_id: str, partition: int, ce_id: bytes, key: bytes, value: bytes) -> None:
        """A record as a consumer got it; one of another export gets a place that no line has."""
        export, file, offset = ce_id.decode().rsplit("/", 2)
        self._places.append(int(file) << _FILE_BITS | int(offset) if export == export_id else -1)
        self._hashes.append(xxh3_64_intdigest(b"%b\0%b" % (key, value)))
        self._partitions.append(partition)

    def arrays(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        return np.frombuffer(self._places, dtype=np.int64), np.frombuffer(self._hashes, dtype=np.uint64)

    def by_partition(self) -> dict[str, tuple[int, str]]:
        """Number of records and sum of hashes for each partition that has any."""
        partitions, (_, hashes) = np.frombuffer(self._partitions, dtype=np.int16), self.arrays()
        chosen = {int(p): hashes[partitions == p] for p in np.unique(partitions)}
        return {str(p): (len(found), f"{int(found.sum(dtype=np.uint64)):016x}") for p, found in chosen.items()}


def compare(served: Fingerprints, found: Fingerprints, completed: Mapping[str, Any]) -> Verdict:
    """Lines against records, and records against their export's event ``export_completed``."""
    places, hashes = served.arrays()
    order = np.argsort(places)
    places, hashes = places[order], hashes[order]
    found_places, first = np.unique(found.arrays()[0], return_index=True)
    found_hashes = found.arrays()[1][first]
    known = np.isin(found_places, places, assume_unique=True)
    there = np.searchsorted(places, found_places[known])
    return Verdict(
        lines=len(served),
        records=len(found),
        missing=len(places) - int(known.sum()),
        doubled=len(found) - len(found_places),
        altered=int((hashes[there] != found_hashes[known]).sum()),
        foreign=int((~known).sum()),
        contradictions=_contradictions(found.by_partition(), completed["partitions"]),
    )


def _contradictions(found: Mapping[str, tuple[int, str]], told: Mapping[str, Any]) -> int:
    claimed = {partition: (counts["records"], counts["digest"]) for partition, counts in told.items()}
    return len([p for p in claimed.keys() | found.keys() if claimed.get(p) != found.get(p)])


def total(verdicts: Iterable[Verdict]) -> Verdict:
    return sum(verdicts, start=Verdict())
