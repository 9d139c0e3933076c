"""Whichever transactions of a snapshot fail, its topic says what it held: no less, nothing twice, nobody buried."""

from __future__ import annotations

import pytest

from streamer.core.differences import BYTES_PER_ENTITY, Budget
from tests.memory_kafka import Trouble
from tests.unit.service.moving_bench import FIRST, SECOND, Moving


class TestTrouble:
    @pytest.mark.parametrize("budget", [1_000_000, 9 * BYTES_PER_ENTITY], ids=["one share", "several shares"])
    async def test_whichever_transaction_fails_the_topic_says_what_the_last_snapshot_held(self, budget: int) -> None:
        begun, ended = await self.with_troubles({}, budget=budget)
        # What comes first are steps without records: intent, request, readiness.
        for number in range(begun + 4, ended + 1, 1 if budget == 1_000_000 else 2):
            trouble = list(Trouble)[number % 4]
            await self.with_troubles({number: trouble}, budget=budget, is_mortal=number % 3 == 0)

    async def test_however_often_transactions_fail_it_says_so_in_the_end(self) -> None:
        troubles = {number: list(Trouble)[number // 3 % 4] for number in range(3, 400, 3)}
        await self.with_troubles(troubles, budget=9 * BYTES_PER_ENTITY, is_mortal=True)

    async def with_troubles(
        self, troubles: dict[int, Trouble], *, budget: int, is_mortal: bool = False
    ) -> tuple[int, int]:
        """Two snapshots with troubles by number of the transaction; the numbers before and after the second."""
        bench = Moving(block_bytes=110)
        bench.is_mortal = is_mortal
        bench.budget = Budget(budget)
        bench.stream = bench.new_stream()
        bench.kafka.troubles = troubles
        await bench.snapshots(FIRST)
        begun = bench.kafka.transactions
        await bench.snapshots(SECOND)
        assert bench.view() == SECOND, troubles
        return begun, bench.kafka.transactions
