"""Which enterprises and chains a stream asks for.

"Which one is used depends on EntityType" (operations/exports): profiles belong to a chain, everything else to an
enterprise. A stream never sends the kind of ids that its type doesn't take, as Mews would refuse them.
"""

from __future__ import annotations

import msgspec
import xxhash

from streamer.model import EntityType

_OF_CHAINS = frozenset({EntityType.CUSTOMER, EntityType.COMPANY})


class Scope(msgspec.Struct, frozen=True):
    """Ids of enterprises, or of chains; none of either means all that the token reaches."""

    enterprise_ids: tuple[str, ...] = ()
    chain_ids: tuple[str, ...] = ()

    def of(self, entity_type: EntityType) -> Scope:
        """The part of it that the entity type takes."""
        if entity_type in _OF_CHAINS:
            return Scope(chain_ids=self.chain_ids)
        return Scope(enterprise_ids=self.enterprise_ids)

    @property
    def digest(self) -> str:
        """One word for the scope, whatever the order of its ids; empty for everything."""
        ids = [*("enterprise " + i for i in self.enterprise_ids), *("chain " + i for i in self.chain_ids)]
        return xxhash.xxh3_64_hexdigest("\n".join(sorted(ids)).encode()) if ids else ""


EVERYTHING = Scope()
