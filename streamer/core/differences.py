"""What a topic says already, as a table of digests: which lines of a snapshot are news, and which entities are gone.

What a newcomer would get wrong:

* A reconciling snapshot may say nothing of an entity that the table still holds: of one that was updated in the hour
  before the snapshot was asked for, that is no proof that it is gone (``gone_before``).
* A table is good for one producer of the shard: what it holds follows from records that were read after that
  producer's start and from what the same producer was given since. After a restart it is read anew.
* 29 bytes an entity: that of a hash table would be a third more, and twice that whenever it grows. So each partition
  is a few sorted runs, each more than eight times as long as the next; only the last ones are ever merged, and never
  to more than a quarter of a million entries, so that no step takes long.

Keys are known by 96 bits of their digest: 64 to find them by, 32 to notice that two keys share those. Such a pair is
to be expected in one table of 10 million out of 40 million; then the second key is not kept, its lines are always
published and it never gets a tombstone. To take one key for another it needs all 96.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest, xxh3_128_digest

Array = npt.NDArray[Any]

BYTES_PER_ENTITY: Final = 29
"""Of the table, as it is kept."""

EVER: Final = 2**62
"""A moment after all others, in microseconds."""

UNTIMED: Final = np.iinfo(np.int64).min
"""Instead of microseconds since 1970: there is no ``UpdatedUtc``. numpy's own mark for it."""

_SEEN: Final = np.uint8(1)
_TOMBSTONE: Final = np.uint8(2)
_TIMED: Final = np.uint8(4)

_FACTOR: Final = 8
_LONGEST_RUN: Final = 2**18


class Facts(msgspec.Struct, frozen=True):
    """What is compared of some lines or records of one partition, in their order; columns of equal length."""

    keys: Array
    """64 bits of the key's digest."""
    checks: Array
    """32 others of it."""
    values: Array
    """Digest of key and value, the same that a record adds to its partition's."""
    updated: Array
    """``UpdatedUtc`` in microseconds since 1970, or ``UNTIMED``."""

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, which: Array | slice) -> Facts:
        """Those at these places."""
        return Facts(self.keys[which], self.checks[which], self.values[which], self.updated[which])


def facts_of(keys: Sequence[bytes], values: Sequence[int], updated: Sequence[object]) -> Facts:
    """Facts of lines: their keys, the digests of key and value, and what stands under ``UpdatedUtc``."""
    digests = np.frombuffer(b"".join(map(xxh3_128_digest, keys)), dtype=_KEY)
    return Facts(
        keys=digests["key"].astype(np.uint64),
        checks=digests["check"].astype(np.uint32),
        values=np.array(values, dtype=np.uint64),
        updated=microseconds(updated),
    )


_KEY = np.dtype([("key", ">u8"), ("check", ">u4"), ("rest", ">u4")])


def microseconds(moments: Sequence[object]) -> Array:
    """Microseconds since 1970 of moments as Mews writes them; ``UNTIMED`` for what is none."""
    try:
        # numpy reads them ten times as fast as Python does, but takes much else for a moment too.
        return np.array([_without_zone(moment) for moment in moments], dtype="datetime64[us]").astype(np.int64)
    except ValueError:
        return np.array([_microseconds(moment) for moment in moments], dtype=np.int64)


def _without_zone(moment: object) -> str:
    if moment is None:
        return "NaT"
    if type(moment) is str and len(moment) >= _SHORTEST and moment[10] == "T" and moment[-1] == "Z":
        return moment[:-1]
    raise ValueError(moment)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SHORTEST: Final = len("2026-03-01T12:00:00Z")


def _microseconds(moment: object) -> int:
    try:
        known = datetime.fromisoformat(moment) if isinstance(moment, str) else None
    except ValueError:
        known = None
    # In whole numbers: floating seconds are one microsecond off now and then, from 2038 on.
    return (known - _EPOCH) // _MICROSECOND if known and known.tzinfo else UNTIMED


def value_digest(key: bytes, value: bytes) -> int:
    """Digest of key and value, as in ``core.blocks``: one number serves both."""
    return xxh3_64_intdigest(key + b"\0" + value)


class _Run:
    """Entities in the order of their keys; what is known of them may change, which ones they are not."""

    def __init__(self, facts: Facts, flags: Array) -> None:
        self.keys = facts.keys
        self.checks = facts.checks
        self.values = facts.values
        self.updated = facts.updated
        self.flags = flags

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, facts: Facts, wanted: Array) -> tuple[Array, Array, Array]:
        """Which of ``wanted`` (places in ``facts``) are here and where; and which are nowhere in this run.

        One that shares its 64 bits with another key is in neither.
        """
        keys = facts.keys[wanted]
        places = np.minimum(self.keys.searchsorted(keys), len(self.keys) - 1)
        same = self.keys[places] == keys
        found, at = wanted[same], places[same]
        really = self.checks[at] == facts.checks[found]
        return found[really], at[really], wanted[~same]

    def merged(self, later: _Run) -> _Run:
        """Both together; they have no entity in common."""
        at = self.keys.searchsorted(later.keys) + np.arange(len(later))
        of_earlier = np.ones(len(self) + len(later), dtype=bool)
        of_earlier[at] = False
        columns = []
        for name in ("keys", "checks", "values", "updated", "flags"):
            # numpy's `insert` finds the places anew for each column, and takes a quarter longer.
            column = np.empty(len(of_earlier), dtype=getattr(self, name).dtype)
            column[at], column[of_earlier] = getattr(later, name), getattr(self, name)
            columns.append(column)
        return _Run(Facts(*columns[:4]), columns[4])


class _Partition:
    """The entities of one partition."""

    def __init__(self) -> None:
        self.runs: list[_Run] = []

    def find(self, facts: Facts) -> tuple[list[tuple[_Run, Array, Array]], Array]:
        """For each run that has some: which, and where; and the places of those that are new."""
        found, wanted = [], np.arange(len(facts))
        for run in self.runs:
            if not len(wanted):
                break
            here, at, wanted = run.find(facts, wanted)
            if len(here):
                found.append((run, here, at))
        return found, wanted

    def add(self, facts: Facts, flags: Array) -> None:
        """New entities, in any order, each once."""
        if not len(facts):
            return
        order = facts.keys.argsort()
        self.runs.append(_Run(facts.at(order), flags[order]))
        while len(self.runs) > 1 and self._may_merge(self.runs[-2], self.runs[-1]):
            later = self.runs.pop()
            self.runs[-1] = self.runs[-1].merged(later)

    @staticmethod
    def _may_merge(earlier: _Run, later: _Run) -> bool:
        return len(earlier) <= _FACTOR * len(later) and len(earlier) + len(later) <= _LONGEST_RUN


class Table:
    """What the topic says of the entities of some partitions. Pure: whoever reads and publishes tells it."""

    def __init__(self) -> None:
        self.is_full = False
        """Whether keys that are not in it stay out: then lines that repeat one within an export are published too."""
        self._partitions: dict[int, _Partition] = {}

    def __len__(self) -> int:
        """How many keys it holds, those with a tombstone too."""
        return sum(len(run) for run in self._runs())

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return BYTES_PER_ENTITY * len(self)

    @property
    def entities(self) -> int:
        """How many entities the topic says to exist: those without a tombstone."""
        return sum(int(np.count_nonzero(run.flags & _TOMBSTONE == 0)) for run in self._runs())

    def take_back(self, partition: int, facts: Facts, *, timestamps: Array, tombstones: Array) -> None:
        """Records read back, in the order of their offsets: the newest of a key is what holds.

        ``timestamps`` are the records' own, in microseconds; ``tombstones`` true for records without a value.
        """
        newest = np.sort(len(facts) - 1 - np.unique(facts.keys[::-1], return_index=True)[1])
        facts, timestamps, tombstones = facts.at(newest), timestamps[newest], tombstones[newest]
        timed = facts.updated != UNTIMED
        flags = np.where(tombstones, _TOMBSTONE, np.where(timed, _TIMED, np.uint8(0))).astype(np.uint8)
        facts = msgspec.structs.replace(facts, updated=np.where(timed, facts.updated, timestamps))
        known = self._partition(partition)
        found, new = known.find(facts)
        for run, which, at in found:
            run.values[at] = facts.values[which]
            run.updated[at] = facts.updated[which]
            run.flags[at] = flags[which]
        known.add(facts.at(new), flags[new])

    def judge(self, partition: int, facts: Facts) -> Array:
        """Which of these lines are to be published; those count as the newest of their key from here on, and as seen.

        All but the ones whose key has the same bytes already, or a version with a later ``UpdatedUtc``: whether it
        comes from the topic or from an earlier line.
        """
        first = np.unique(facts.keys, return_index=True)[1]
        if len(first) == len(facts):
            return self._judge(partition, facts)
        # A key comes more than once: its lines are judged one after the other.
        publish = np.ones(len(facts), dtype=bool)
        publish[first] = self._judge(partition, facts.at(first))
        others = np.setdiff1d(np.arange(len(facts)), first)
        publish[others] = self.judge(partition, facts.at(others))
        return publish

    def _judge(self, partition: int, facts: Facts) -> Array:
        publish = np.ones(len(facts), dtype=bool)
        timed = np.where(facts.updated != UNTIMED, _TIMED, np.uint8(0)).astype(np.uint8)
        known = self._partition(partition)
        found, new = known.find(facts)
        for run, which, at in found:
            flags, updated, line_updated = run.flags[at], run.updated[at], facts.updated[which]
            alive = flags & _TOMBSTONE == 0
            same = run.values[at] == facts.values[which]
            older = (flags & timed[which] & _TIMED != 0) & (line_updated < updated)
            news = ~(alive & (same | older))
            publish[which] = news
            run.flags[at] = np.where(news, timed[which], flags) | _SEEN
            at, which = at[news], which[news]
            run.values[at] = facts.values[which]
            run.updated[at] = facts.updated[which]
        if not self.is_full:
            known.add(facts.at(new), timed[new] | _SEEN)
        return publish

    def see(self, partition: int, facts: Facts) -> None:
        """The snapshot holds these entities, whatever becomes of their lines."""
        for run, _, at in self._partition(partition).find(facts)[0]:
            run.flags[at] |= _SEEN

    def gone_before(self, moment: int, partition: int | None = None) -> int:
        """How many entities exist by the topic, were not seen, and changed last before ``moment``, in microseconds.

        In all partitions, or in one of them.
        """
        runs = self._runs() if partition is None else self._partition(partition).runs
        return sum(int(np.count_nonzero(_gone(run.flags, run.updated, moment))) for run in runs)

    def bury(self, partition: int, facts: Facts, moment: int) -> Array:
        """Which of these keys are gone in that sense, each the first time it is met: it has a tombstone from now on."""
        gone = np.zeros(len(facts), dtype=bool)
        first = np.unique(facts.keys, return_index=True)[1]
        once = facts.at(first)
        for run, which, at in self._partition(partition).find(once)[0]:
            buried = _gone(run.flags[at], run.updated[at], moment)
            run.flags[at[buried]] |= _TOMBSTONE
            gone[first[which[buried]]] = True
        return gone

    def forget(self, partition: int) -> None:
        """Drop what is known of a partition."""
        self._partitions.pop(partition, None)

    def _partition(self, partition: int) -> _Partition:
        return self._partitions.setdefault(partition, _Partition())

    def _runs(self) -> Iterable[_Run]:
        return (run for partition in self._partitions.values() for run in partition.runs)


def _gone(flags: Array, updated: Array, moment: int) -> Array:
    gone: Array = (flags & (_SEEN | _TOMBSTONE) == 0) & (updated < moment)
    return gone


class Withholding(msgspec.Struct, frozen=True):
    """What tells whether a snapshot's tombstones may be written (decision 0022)."""

    gone: int
    unseen: int
    """How many are not in the snapshot, those that are too young to be called gone included."""
    entities: int
    """How many the topic says to exist, those that this snapshot brought included."""
    max_share: float
    unreadable: int = 0
    """Dead letters without a readable ``Id``: any of the entities may be one of them."""
    scope_changed: bool = False
    scope_seen: bool = False
    """The last snapshot had withheld its tombstones for this very change already."""
    shared_keys: bool = False
    at_least_once: bool = False
    adopted: bool = False
    """A person has told the export's id: nobody knows how old what it holds is."""
    let_through: bool = False
    """A person has looked and said so."""

    def why(self) -> str:
        """The word for why none is written, empty where all are."""
        scope_counts = self.scope_changed and not (self.let_through and self.scope_seen)
        if not self.gone:
            # What is too young today would be gone tomorrow, when the scope is no longer new.
            return "scope_changed" if scope_counts and self.unseen else ""
        if self.at_least_once:
            return "at_least_once"
        if self.shared_keys:
            return "shared_keys"
        if self.adopted:
            return "adopted"
        if self.unreadable:
            return "unreadable_lines"
        if scope_counts:
            return "scope_changed"
        if self.gone > max(20, self.max_share * self.entities) and not self.let_through:
            return "too_many"
        return ""


class Budget:
    """Bytes that all tables of a process may take together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: dict[int, int] = {}

    def take(self, owner: object, size: int) -> bool:
        """Whether ``owner`` may have ``size`` bytes in all; if so, they are taken."""
        others = sum(taken for who, taken in self._taken.items() if who != id(owner))
        if others + size > self.limit:
            return False
        self._taken[id(owner)] = size
        return True

    def others(self, owner: object) -> bool:
        """Whether somebody else has any."""
        return any(taken for who, taken in self._taken.items() if who != id(owner))

    def release(self, owner: object) -> None:
        """Give back all that ``owner`` has."""
        self._taken.pop(id(owner), None)
