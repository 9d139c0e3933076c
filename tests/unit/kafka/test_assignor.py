"""The assignor as aiokafka calls it: by members' metadata, of which the newest generation is believed."""

from __future__ import annotations

from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from streamer.kafka.assignor import assignor_for
from streamer.model import Shard

TOPIC = "mews.checkpoints"
BUSY = [Shard(1), Shard(2)]


class Cluster:
    """Of the topics of a cluster, what an assignor asks for."""

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0, 1, 2, 3} if topic == TOPIC else None


def member(*held: int, generation: int = -1) -> Any:
    """What a member sends when it joins."""
    assignor = assignor_for(TOPIC, BUSY)
    if held:
        assignor.on_assignment(ConsumerProtocolMemberAssignment(0, [(TOPIC, list(held))], b""))
        assignor.on_generation_assignment(generation)
    return assignor.metadata([TOPIC])


def assigned(**members: Any) -> dict[str, list[int]]:
    found = assignor_for(TOPIC, BUSY).assign(Cluster(), members)
    return {name: [number for _, numbers in given.assignment for number in numbers] for name, given in found.items()}


def test_a_new_member_is_given_half_of_what_has_work_and_half_of_the_rest() -> None:
    assert assigned(a=member(0, 1, 2, 3, generation=4), b=member()) == {"a": [0, 1], "b": [2, 3]}


def test_a_member_that_slept_through_a_generation_takes_nothing_back() -> None:
    awake, slept = member(0, 1, 2, 3, generation=5), member(2, 3, generation=3)
    assert assigned(slept=slept, awake=awake) == {"awake": [0, 1], "slept": [2, 3]}
    assert assigned(awake=member(2, 3, generation=5), slept=member(2, 3, generation=3)) == {
        "awake": [2, 3],
        "slept": [0, 1],
    }
