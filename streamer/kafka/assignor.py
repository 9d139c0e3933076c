"""What aiokafka asks where the leader of the group is to spread the shards (KIP-54: with what each member held)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from streamer.core.spreading import spread
from streamer.model import Shard


def assignor_for(topic: str, busy: Collection[Shard]) -> type[StickyPartitionAssignor]:
    """An assignor of ``topic``'s partitions, of which the ``busy`` ones have streams.

    By name and metadata it is aiokafka's sticky one, so older replicas may be in the group: whoever leads it decides. A
    class for each member, since aiokafka keeps on it what the member held last.
    """

    class ShardAssignor(StickyPartitionAssignor):  # type: ignore[misc]
        @classmethod
        def assign(
            cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            last = {member: cls.parse_member_metadata(metadata) for member, metadata in members.items()}
            # Somebody who slept through a generation still names what others have been given since.
            newest_first = sorted(last, key=lambda member: (-last[member].generation, member))
            held = {member: [Shard(each.partition) for each in last[member].partitions] for member in newest_first}
            shards = [Shard(partition) for partition in cluster.partitions_for_topic(topic) or ()]
            return {
                member: ConsumerProtocolMemberAssignment(cls.version, [(topic, given)] if given else [], b"")
                for member, given in spread(shards, busy, held).items()
            }

    return ShardAssignor
