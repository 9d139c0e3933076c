"""An export whose files are being read, asked for again."""

from __future__ import annotations

import pytest

from streamer.core.files import file_list
from streamer.core.states import Position, Publishing, Request
from streamer.errors import ExportLostError
from streamer.model import Export, ExportFile, ExportId, ExportKind, ExportStatus, Link
from streamer.service.fetching import fetch_again
from tests.unit.service.life_bench import START

FILES = (ExportFile(Link("https://files.example/0?sig=canary"), 10),)
EXPORT = Export(ExportId("e1"), ExportStatus.SUCCESS, files=FILES)
PUBLISHING = Publishing(
    request=Request(cycle=1, kind=ExportKind.SNAPSHOT, requested_at=START),
    export_id=EXPORT.id,
    ready_at=START,
    files=file_list(FILES),
    position=Position(),
)


class Links:
    def __init__(self, *answers: Export | None) -> None:
        self.answers = list(answers)

    async def fetch(self, export_id: ExportId) -> Export | None:
        assert export_id == EXPORT.id
        return self.answers.pop(0)


async def test_one_answer_without_the_export_does_not_throw_away_what_took_hours_to_make() -> None:
    assert await fetch_again(Links(None, EXPORT), PUBLISHING) is EXPORT


async def test_an_export_that_is_missing_twice_in_a_row_is_lost() -> None:
    with pytest.raises(ExportLostError):
        await fetch_again(Links(None, None, EXPORT), PUBLISHING)
