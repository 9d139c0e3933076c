"""Where the time of a block goes: the daemon with a clock at each step, and a table of what it noted.

``benchmarks/throughput run --ways streamer-block-times`` runs it and appends a line for each block to
``build/block-times.jsonl``; ``python -m benchmarks.block_times`` prints the medians, in milliseconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.producer.sender import AddPartitionsToTxnHandler, SendProduceReqHandler

from streamer.cli import main
from streamer.kafka.producer import TransactionalProducer
from streamer.kafka.sending import Sending

_NOTES = Path("build/block-times.jsonl")

Step = Callable[[], object]


def _nothing() -> None: ...


class Times(msgspec.Struct):
    """Readings of a clock in one transaction, in seconds, and how often something happened."""

    began: float
    first_request: float = 0.0
    sent: float = 0.0
    concluded: float = 0.0
    committed: float = 0.0
    requests: int = 0
    refusals: int = 0

    def steps(self) -> dict[str, float]:
        """What each took, by name, in milliseconds; and the counts."""
        times = (self.began, self.first_request, self.sent, self.concluded, self.committed)
        names = ("until it may begin", "batches", "events and checkpoint", "commit")
        took = {name: (later - earlier) * 1e3 for name, (earlier, later) in zip(names, pairwise(times), strict=True)}
        return {**took, "all": (self.committed - self.began) * 1e3, "requests": self.requests, "refused": self.refusals}


class Clock:
    """Notes the steps of the transaction that is open."""

    def __init__(self) -> None:
        self.now = Times(0.0)
        self.blocks: list[Times] = []

    def watch(self) -> None:
        """Put itself around what publishing calls."""
        self._around(TransactionalProducer, "publish", before=self._begin, after=self._end)
        self._around(Sending, "send_batches", after=lambda: self._once("sent"))
        self._around(SendProduceReqHandler, "do", before=self._request)
        self._around(AIOKafkaProducer, "commit_transaction", before=lambda: self._once("concluded"))
        answered = AddPartitionsToTxnHandler.handle_response

        def handle_response(handler: Any, response: Any) -> float | None:
            pause: float | None = answered(handler, response)
            self.now.refusals += pause is not None
            return pause

        AddPartitionsToTxnHandler.handle_response = handle_response

    def _around(self, owner: type, name: str, *, before: Step = _nothing, after: Step = _nothing) -> None:
        call: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def watched(*arguments: Any, **options: Any) -> Any:
            before()
            result = await call(*arguments, **options)
            after()
            return result

        setattr(owner, name, watched)

    def _once(self, name: str) -> None:
        if not getattr(self.now, name):
            setattr(self.now, name, time.monotonic())

    def _request(self) -> None:
        self._once("first_request")
        self.now.requests += 1

    def _begin(self) -> None:
        self.now = Times(time.monotonic())

    def _end(self) -> None:
        self.now.committed = time.monotonic()
        # Without a block there are one or two requests.
        if self.now.requests > 2:
            self.blocks.append(self.now)


def print_table() -> None:
    steps = [msgspec.json.decode(line, type=Times).steps() for line in _NOTES.read_bytes().splitlines()]
    sys.stdout.write(f"medians of {len(steps)} blocks, ms\n")
    for name in steps[0]:
        sys.stdout.write(f"{name:24}{median(step[name] for step in steps):8.1f}\n")


def run() -> None:
    clock = Clock()
    clock.watch()
    try:
        main()
    finally:
        _NOTES.parent.mkdir(parents=True, exist_ok=True)
        with _NOTES.open("ab") as notes:
            notes.writelines(msgspec.json.encode(block) + b"\n" for block in clock.blocks)


if __name__ == "__main__":
    run() if sys.argv[1:] else print_table()
