"""Every line of an export is there once, whichever of its transactions fails, and however many."""

from __future__ import annotations

import pytest

from tests.memory_kafka import Trouble
from tests.unit.cases import cases
from tests.unit.service.life_bench import BILLS, LIFE, Bench

TRANSACTIONS = 10
"""Of a life with ``FILES``; checked below, so that no kill is forgotten when that changes."""


class TestExactlyOnce:
    async def test_a_life_has_so_many_transactions(self) -> None:
        bench = Bench()
        await bench.live()
        assert bench.kafka.transactions == TRANSACTIONS

    @cases("is_mortal", [False, True])
    @cases("trouble", Trouble)
    @cases("transaction", range(1, TRANSACTIONS + 1))
    async def test_whichever_transaction_fails_every_line_is_there_once(
        self, transaction: int, trouble: Trouble, is_mortal: bool
    ) -> None:
        bench = Bench()
        bench.is_mortal = is_mortal
        bench.kafka.troubles = {transaction: trouble}
        await bench.live()
        # A process that dies as it learns that it is done can't know that it was, and is started once more.
        is_late = is_mortal and transaction == TRANSACTIONS and trouble is Trouble.DIES_AFTER_COMMIT
        self.check(bench, exports=2 if is_late else 1)
        assert bench.told == LIFE * (2 if is_late else 1)
        assert [c.term for c in bench.checkpoints] == sorted(c.term for c in bench.checkpoints)

    @cases("is_mortal", [False, True])
    @cases("trouble", Trouble)
    async def test_so_it_is_where_the_next_file_has_been_begun_meanwhile(
        self, trouble: Trouble, is_mortal: bool
    ) -> None:
        for transaction in range(3, TRANSACTIONS):
            bench = Bench()
            bench.is_mortal = is_mortal
            bench.kafka.commit_seconds = 1.0
            bench.kafka.troubles = {transaction: trouble}
            await bench.live()
            self.check(bench, exports=1)
            assert bench.told == LIFE

    def check(self, bench: Bench, *, exports: int | None = None) -> None:
        completed = [event["export_id"] for event in bench.events if event["event"] == "export_completed"]
        assert len(completed) == (exports or len(completed)) > 0
        for export_id in completed:
            bench.check_completed(export_id)
        assert {r.ce_id.split("/")[0] for r in bench.kafka.committed(BILLS)} == set(completed)

    @pytest.mark.parametrize("is_mortal", [False, True], ids=["sessions lost", "processes killed"])
    async def test_however_often_transactions_fail_every_line_is_there_once(self, is_mortal: bool) -> None:
        bench = Bench()
        bench.is_mortal = is_mortal
        kinds = list(Trouble)
        bench.kafka.troubles = {n: kinds[n // 2 % 4] for n in range(2, 60) if n % 3}
        await bench.live()
        # A process that dies as it completes an export can't know that, and the next one begins another.
        self.check(bench, exports=None if is_mortal else 1)
