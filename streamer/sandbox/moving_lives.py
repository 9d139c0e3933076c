"""The lives of the entities of a type in a world that moves: when each is created, updated, merged, deleted.

Nothing of it is stored. All about entity number `i` follows from the seed by arithmetic: it is born at a
time of its own, is updated about once in a time of its own, and some day, perhaps, merged into another or
deleted for good. Some updates show only minutes after the time that they bear, as in any database in which
transactions take their time. Times are whole seconds since 1970.
"""

import msgspec
import numpy as np

from streamer.sandbox.entities import Numbers, mixed

HOUR = 3600
DAY = 86_400
# The first entities were born in so much time before the world began to move.
PAST = 100 * DAY
NEVER = 2**60
# Updates before a merge, at most: an entity that is merged is never updated again.
LAST_UPDATES = 12


class Lives(msgspec.Struct, frozen=True):
    seed: int
    start: int  # when the world begins to move
    count: int  # entities that are there by then
    birth_seconds: int  # between one new entity and the next
    update_seconds: int  # between two updates of an entity, on average
    mortal: float = 0.0  # share of the entities that are deleted within `lifetime_seconds`
    lifetime_seconds: int = 40 * DAY
    merged: float = 0.0  # share that is merged into another some day
    late: float = 0.0  # share of the versions that show late, by up to ...
    late_seconds: int = 0  # ... so much: at most a quarter of `update_seconds`, or they would overtake one another

    def living(self, moment: int) -> tuple[Numbers, Numbers]:
        """The entities that a look at a moment finds, in their order, and the version of each."""
        entities = np.arange(self._born_by(moment), dtype=np.int64)
        versions = self.versions(entities, moment)
        there = (versions >= 0) & (self.deleted(entities) > moment)
        return entities[there], versions[there]

    def gone(self, moment: int) -> tuple[Numbers, Numbers]:
        """The entities deleted by a moment, and when that was; among them some that nobody ever saw."""
        entities = np.arange(self._born_by(moment), dtype=np.int64)
        deleted = self.deleted(entities)
        return entities[deleted <= moment], deleted[deleted <= moment]

    def born(self, entities: Numbers) -> Numbers:
        chance = self._chance(1, entities)
        later = (entities - self.count) * self.birth_seconds + chance % self.birth_seconds
        return self.start + np.where(entities < self.count, -1 - chance % PAST, later)

    def updated(self, entities: Numbers, versions: Numbers) -> Numbers:
        """When a version came to be, which is its `UpdatedUtc`; version 0 is the birth."""
        period = self._period(entities)
        jitter = self._chance(3, entities, versions) % (period // 2)
        return self.born(entities) + np.where(versions > 0, versions * period + jitter, 0)

    def shown(self, entities: Numbers, versions: Numbers) -> Numbers:
        """From when on a look finds a version; it replaces the one before at once."""
        if not self.late_seconds:
            return self.updated(entities, versions)
        is_late = self._share(4, entities, versions) < self.late
        delay = np.where(is_late, 1 + self._chance(5, entities, versions) % self.late_seconds, 0)
        return self.updated(entities, versions) + delay

    def versions(self, entities: Numbers, moment: int) -> Numbers:
        """The newest version of each that shows at a moment; -1: none does yet."""
        age = moment - self.born(entities)
        newest = np.where(age < 0, -1, np.minimum(age // self._period(entities), self.last_version(entities)))
        # The jitter and the delay together are shorter than a period, so that one step back is far enough.
        return np.where((newest >= 0) & (self.shown(entities, newest) > moment), newest - 1, newest)

    def last_version(self, entities: Numbers) -> Numbers:
        """The version that tells of the merge; of those that are never merged, none."""
        last = 1 + self._chance(6, entities) % LAST_UPDATES
        return np.where(self._share(7, entities) < self.merged, last, NEVER)

    def merge_target(self, entities: Numbers) -> Numbers:
        """Whom an entity is merged into, if it ever is: another one, of those that were there at the start."""
        others = max(self.count - 1, 1)
        return (entities + 1 + self._chance(8, entities) % others) % max(self.count, 1)

    def deleted(self, entities: Numbers) -> Numbers:
        """When each is deleted for good."""
        lifetime = HOUR + self._chance(9, entities) % self.lifetime_seconds
        ends = np.maximum(self.born(entities), self.start) + lifetime
        return np.where(self._share(10, entities) < self.mortal, ends, NEVER)

    def _born_by(self, moment: int) -> int:
        return self.count + max(moment - self.start, 0) // self.birth_seconds + 1

    def _period(self, entities: Numbers) -> Numbers:
        return self.update_seconds // 2 + self._chance(2, entities) % self.update_seconds

    def _chance(self, purpose: int, entities: Numbers, versions: Numbers | int = 0) -> Numbers:
        """A number of 62 bits for each entity and version, and each purpose another."""
        key = np.uint64((self.seed << 8 | purpose) & (2**64 - 1))
        of_entities = mixed(entities.astype(np.uint64) ^ mixed(np.array([key], dtype=np.uint64)))
        both = mixed(of_entities + np.asarray(versions, dtype=np.int64).astype(np.uint64))
        return (both >> np.uint64(2)).astype(np.int64)

    def _share(self, purpose: int, entities: Numbers, versions: Numbers | int = 0) -> np.ndarray:
        return self._chance(purpose, entities, versions) / 2.0**62
