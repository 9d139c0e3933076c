from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from streamer.errors import MewsUnavailableError
from streamer.mews.polling import ExportPolls, next_poll
from streamer.model import Export, ExportId, ExportStatus
from tests.unit.cases import cases

A, B, C = ExportId("a"), ExportId("b"), ExportId("c")


class MemoryExports:
    """Answers when it is let; knows every id that does not begin with a dash."""

    def __init__(self) -> None:
        self.calls: list[list[ExportId]] = []
        self.called = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def get_all(self, ids: Sequence[ExportId]) -> Mapping[ExportId, Export]:
        self.calls.append(list(ids))
        self.called.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {i: Export(i, ExportStatus.PENDING) for i in ids if not i.startswith("-")}


async def a_turn(seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
def exports() -> MemoryExports:
    return MemoryExports()


@pytest.fixture
async def polls(exports: MemoryExports) -> AsyncIterator[ExportPolls]:
    polls = ExportPolls(exports, sleep=a_turn)
    yield polls
    await polls.close()


async def test_questions_of_about_the_same_time_are_one_call(polls: ExportPolls, exports: MemoryExports) -> None:
    found = await asyncio.gather(polls.fetch(A), polls.fetch(B), polls.fetch(A))
    assert [export and export.id for export in found] == [A, B, A]
    assert exports.calls == [[A, B]]


async def test_an_unknown_export_is_none(polls: ExportPolls) -> None:
    assert await polls.fetch(ExportId("-")) is None


async def test_questions_during_a_call_wait_for_the_next_even_for_the_same_export(
    polls: ExportPolls, exports: MemoryExports
) -> None:
    exports.gate.clear()
    first = asyncio.create_task(polls.fetch(A))
    await exports.called.wait()
    later = [asyncio.create_task(polls.fetch(i)) for i in (A, B, C)]
    await asyncio.sleep(0)
    exports.gate.set()
    await asyncio.gather(first, *later)
    assert exports.calls == [[A], [A, B, C]]


async def test_questions_one_after_another_are_asked_one_after_another(
    polls: ExportPolls, exports: MemoryExports
) -> None:
    for export_id in (A, B):
        assert await polls.fetch(export_id) is not None
    assert exports.calls == [[A], [B]]


async def test_who_gives_up_takes_nothing_from_the_others(polls: ExportPolls, exports: MemoryExports) -> None:
    exports.gate.clear()
    impatient, patient = asyncio.create_task(polls.fetch(A)), asyncio.create_task(polls.fetch(A))
    await exports.called.wait()
    impatient.cancel()
    exports.gate.set()
    assert await patient is not None
    assert impatient.cancelled()


async def test_what_nobody_waits_for_any_more_is_not_asked(polls: ExportPolls, exports: MemoryExports) -> None:
    impatient, patient = asyncio.create_task(polls.fetch(A)), asyncio.create_task(polls.fetch(B))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert exports.calls == [[B]]


async def test_an_error_reaches_everybody_of_its_round_and_nobody_else(
    polls: ExportPolls, exports: MemoryExports
) -> None:
    exports.error = error = MewsUnavailableError("502")
    answers = await asyncio.gather(polls.fetch(A), polls.fetch(B), return_exceptions=True)
    assert [answer is error for answer in answers] == [True, True]
    exports.error = None
    assert await polls.fetch(A) is not None


async def test_closing_cancels_whoever_still_waits(exports: MemoryExports) -> None:
    polls = ExportPolls(exports, sleep=a_turn)
    exports.gate.clear()
    asked = asyncio.create_task(polls.fetch(A))
    await exports.called.wait()
    waiting = asyncio.create_task(polls.fetch(B))
    await asyncio.sleep(0)
    await polls.close()
    await asyncio.gather(asked, waiting, return_exceptions=True)
    assert asked.cancelled()
    assert waiting.cancelled()


@cases(("now", "at"), [(0, 300), (299, 300), (300, 600), (1000, 1200), (-1, 0)])
def test_the_next_poll_is_the_next_point_of_the_grid(now: float, at: float) -> None:
    assert next_poll(now, 300) == at


def test_an_interval_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        next_poll(0, 0)
