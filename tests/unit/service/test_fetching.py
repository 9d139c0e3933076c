"""An export whose files are being read, asked for again."""

from __future__ import annotations

import pytest

from streamer.core.files import file_list
from streamer.core.states import Position, Publishing, Request
from streamer.errors import ExportLostError
from streamer.model import ExportId, ExportKind
from streamer.service.fetching import fetch_again
from tests.memory_mews import MemoryMews
from tests.unit.service.life_bench import START

E1 = ExportId("e1")


def publishing(mews: MemoryMews) -> Publishing:
    return Publishing(
        request=Request(cycle=1, kind=ExportKind.SNAPSHOT, requested_at=START),
        export_id=E1,
        ready_at=START,
        files=file_list(mews.listed()),
        position=Position(),
    )


async def test_one_answer_without_the_export_does_not_throw_away_what_took_hours_to_make() -> None:
    mews = MemoryMews([b"{}"])
    mews.answers = [None]
    export = await fetch_again(mews, publishing(mews))
    assert (export.id, export.files) == (E1, mews.listed())


async def test_an_export_that_is_missing_twice_in_a_row_is_lost() -> None:
    mews = MemoryMews([b"{}"])
    mews.answers = [None, None]
    with pytest.raises(ExportLostError):
        await fetch_again(mews, publishing(mews))
