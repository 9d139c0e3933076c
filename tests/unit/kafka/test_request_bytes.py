"""The seam to how much aiokafka puts into one produce request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import MessageAccumulator

from streamer.kafka.request_bytes import REQUEST_BYTES, bound_requests

TOPIC = "mews.bill"
MIB = 1024 * 1024
LEADER, ANOTHER = 1, 2

Requests = list[dict[int, list[int]]]
"""One after another: by broker, the partitions of each."""


async def filled(sizes: dict[int, int], leaders: dict[int, int | None]) -> Any:
    """aiokafka's accumulator with a closed batch of each partition, of so many bytes and a few."""
    bound_requests()
    cluster = SimpleNamespace(leader_for_partition=lambda partition: leaders[partition.partition])
    accumulator = MessageAccumulator(cluster, 64 * MIB, 0, 60)
    for partition, size in sizes.items():
        builder = accumulator.create_builder()
        builder.append(timestamp=1, key=None, value=bytes(size))
        builder.close()
        await accumulator.add_batch(builder, TopicPartition(TOPIC, partition), 1)
    return accumulator


def drained(accumulator: Any) -> Requests:
    requests: Requests = []
    while True:
        by_node, _ = accumulator.drain_by_nodes(ignore_nodes=set())
        if not by_node:
            return requests
        requests.append({node: [tp.partition for tp in batches] for node, batches in by_node.items()})


async def test_what_does_not_fit_goes_with_the_next_requests_and_nothing_is_left_behind() -> None:
    accumulator = await filled(dict.fromkeys(range(16), MIB), dict.fromkeys(range(16), LEADER))
    assert drained(accumulator) == [{LEADER: [*range(6)]}, {LEADER: [*range(6, 12)]}, {LEADER: [*range(12, 16)]}]


async def test_each_broker_has_requests_of_its_own() -> None:
    leaders = {partition: LEADER if partition < 6 else ANOTHER for partition in range(12)}
    accumulator = await filled(dict.fromkeys(range(12), MIB), dict(leaders))
    assert drained(accumulator) == [{LEADER: [*range(6)], ANOTHER: [*range(6, 12)]}]


async def test_a_batch_that_is_larger_alone_has_a_request_alone() -> None:
    accumulator = await filled({0: 10, 1: REQUEST_BYTES, 2: 10}, dict.fromkeys(range(3), LEADER))
    assert drained(accumulator) == [{LEADER: [0, 2]}, {LEADER: [1]}]


async def test_partitions_that_wait_for_their_turn_take_no_room() -> None:
    accumulator = await filled(dict.fromkeys(range(8), MIB), dict.fromkeys(range(8), LEADER))
    muted = frozenset(TopicPartition(TOPIC, partition) for partition in range(6))
    by_node, _ = accumulator.drain_by_nodes(ignore_nodes=set(), muted_partitions=muted)
    assert [tp.partition for tp in by_node[LEADER]] == [6, 7]


async def test_partitions_without_a_leader_are_told_however_much_they_hold() -> None:
    accumulator = await filled(dict.fromkeys(range(9), MIB), {**dict.fromkeys(range(7)), 7: LEADER, 8: -1})
    by_node, unknown_leaders = accumulator.drain_by_nodes(ignore_nodes=set())
    assert [tp.partition for tp in by_node[LEADER]] == [7]
    assert unknown_leaders
