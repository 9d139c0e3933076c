from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

import pytest
from structlog.testing import capture_logs

from streamer.core.backoff import BackoffPolicy
from streamer.errors import (
    AccessRefusedError,
    DownloadBrokenError,
    ExportLostError,
    LinkRefusedError,
    MewsUnavailableError,
    RateLimitedError,
    RetriableError,
)
from streamer.model import Export, ExportFile, ExportId, ExportStatus, Link
from streamer.service.reading import FileReader, Reading, SizeMismatch
from tests.unit.cases import cases
from tests.unit.mews.virtual_clock import VirtualClock
from tests.unit.service.memory_files import MemoryFiles

CONTENT = '{"Id":"a"}\n{"Id":"é"}\r\n{"Id":"c"}'.encode()


def an_export(
    generation: int = 0,
    *,
    sizes: Sequence[int] = (len(CONTENT),),
    status: ExportStatus = ExportStatus.SUCCESS,
    names: str = "file",
) -> Export:
    files = tuple(
        ExportFile(Link(f"https://blobs.test/{names}-{n}.jsonl?sig={generation}"), size) for n, size in enumerate(sizes)
    )
    return Export(ExportId("e1"), status, files)


class MemoryLinks:
    """Hands out links of a new generation each time, or what it was told to."""

    def __init__(self, *, sizes: Sequence[int] = (len(CONTENT),)) -> None:
        self.sizes = sizes
        self.answers: list[Export | Exception | None] = []
        self.fetched = 0

    async def fetch(self, export_id: ExportId) -> Export | None:
        self.fetched += 1
        if not self.answers:
            return an_export(self.fetched, sizes=self.sizes)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Bench:
    """A reader over fakes, with one file of ``content`` and of ``size`` by Mews."""

    def __init__(
        self,
        content: bytes = CONTENT,
        *,
        size: int | None = None,
        size_mismatch: SizeMismatch = "fail",
        tail_bytes: int = 6,
    ) -> None:
        self.size = len(content) if size is None else size
        self.files = MemoryFiles(content)
        self.links = MemoryLinks(sizes=[self.size])
        self.clock = VirtualClock()
        self.retries: list[str] = []
        self.reader = FileReader(
            links=self.links,
            files=self.files,
            clock=self.clock,
            sleep=self.clock.sleep,
            random=lambda: 1.0,
            backoff=BackoffPolicy(base=1.0, ceiling=60.0),
            size_mismatch=size_mismatch,
            tail_bytes=tail_bytes,
            count_retry=self.retries.append,
        )

    def begin(self, *, offset: int = 0, etag: str | None = None) -> Reading:
        export = an_export(sizes=[self.size])
        return self.reader.read(export, 0, fetched_at=self.clock.now, offset=offset, etag=etag)

    async def read(self, *, offset: int = 0) -> bytes:
        return await the_rest(self.begin(offset=offset))


async def collect(reading: Reading, seen: bytearray) -> None:
    async for chunk in reading.chunks():
        seen += chunk


async def the_rest(reading: Reading) -> bytes:
    seen = bytearray()
    await collect(reading, seen)
    return bytes(seen)


@cases("cut", range(len(CONTENT) + 1))
async def test_a_download_cut_anywhere_gives_the_same_bytes(cut: int) -> None:
    bench = Bench()
    bench.files.cuts = [cut]
    assert await bench.read() == CONTENT


@cases("step", range(1, len(CONTENT) + 1))
async def test_a_download_cut_again_and_again_gives_the_same_bytes(step: int) -> None:
    bench = Bench()
    bench.files.cuts = [step, 0] * len(CONTENT)
    bench.files.chunk_size = max(1, step // 2)
    assert await bench.read() == CONTENT


@cases("offset", range(len(CONTENT) + 1))
@cases("cut", [0, 1, 7, None])
async def test_reading_begins_at_any_byte(offset: int, cut: int | None) -> None:
    bench = Bench()
    bench.files.cuts = [cut]
    assert await bench.read(offset=offset) == CONTENT[offset:]


async def test_going_on_asks_for_the_bytes_before_once_more() -> None:
    bench = Bench()
    bench.files.etag = '"v1"'
    bench.files.cuts = [9, 2]
    assert await bench.read() == CONTENT
    assert [opened[1:] for opened in bench.files.opened] == [
        (0, b"", None),
        (9, CONTENT[3:9], '"v1"'),
        (11, CONTENT[5:11], '"v1"'),
    ]


async def test_the_bytes_before_are_kept_over_chunks_shorter_than_themselves() -> None:
    bench = Bench(tail_bytes=6)
    bench.files.chunk_size = 1
    bench.files.cuts = [9]
    assert await bench.read() == CONTENT
    assert bench.files.opened[1][2] == CONTENT[3:9]


async def test_position_and_etag_are_ready_for_a_checkpoint_after_each_chunk() -> None:
    bench = Bench()
    bench.files.etag = '"v1"'
    reading = bench.begin()
    seen = b""
    async for chunk in reading.chunks():
        seen += chunk
        assert chunk
        assert reading.position == len(seen)
        assert reading.etag == '"v1"'


async def test_another_version_of_the_file_loses_the_export() -> None:
    bench = Bench()
    bench.files.etag = '"v2"'
    with pytest.raises(ExportLostError, match="file changed"):
        await the_rest(bench.begin(offset=3, etag='"v1"'))


async def test_other_bytes_before_the_break_lose_the_export() -> None:
    bench = Bench()
    bench.files.cuts = [8]
    chunks = bench.begin().chunks()
    assert await anext(chunks) + await anext(chunks) == CONTENT[:8]
    bench.files.content = CONTENT.replace(b"a", b"b")
    with pytest.raises(ExportLostError, match="file changed"):
        await anext(chunks)


async def test_waits_grow_until_there_is_progress() -> None:
    bench = Bench()
    bench.files.cuts = [0, 0, 0, 1, 0, None]
    assert await bench.read() == CONTENT
    assert bench.clock.slept == [1.0, 2.0, 4.0, 1.0, 2.0]
    assert bench.retries == ["DownloadBrokenError"] * 5


async def test_each_interruption_is_logged_once_with_reason_attempt_and_delay() -> None:
    bench = Bench()
    bench.files.cuts = [5, 0]
    with capture_logs() as logs:
        await bench.read()
    assert [(log["log_level"], log["reason"], log["position"], log["attempt"], log["delay"]) for log in logs] == [
        ("warning", "cut short", 5, 1, 1.0),
        ("warning", "cut short", 5, 2, 2.0),
    ]
    assert {log["export_id"] for log in logs} == {"e1"}


async def test_the_server_is_given_the_time_that_it_asks_for() -> None:
    bench = Bench()
    bench.files.refusals = [DownloadBrokenError("status 429", retry_after=17.0)]
    assert await bench.read() == CONTENT
    assert bench.clock.slept == [17.0]


async def test_a_young_link_is_used_as_it_is() -> None:
    bench = Bench()
    await bench.read()
    assert bench.links.fetched == 0


async def test_a_link_of_unknown_age_is_replaced_first() -> None:
    bench = Bench()
    reading = bench.reader.read(an_export(), 0)
    assert await the_rest(reading) == CONTENT
    assert [opened[0][-5:] for opened in bench.files.opened] == ["sig=1"]
    assert reading.fetched_at == bench.clock.now
    assert reading.export == an_export(1)


async def test_a_link_over_eight_minutes_old_is_replaced_before_going_on() -> None:
    bench = Bench()
    bench.files.cuts = [4, 4]
    reading = bench.begin()
    async for _ in reading.chunks():
        if reading.position == 4:
            bench.clock.now += 481
    assert [opened[0][-5:] for opened in bench.files.opened] == ["sig=0", "sig=1", "sig=1"]


async def test_a_link_ages_from_before_the_question_that_brought_it() -> None:
    bench = Bench()
    links = bench.links

    class SlowLinks:
        async def fetch(self, export_id: ExportId) -> Export | None:
            bench.clock.now += 100
            return await links.fetch(export_id)

    bench.reader.links = SlowLinks()
    reading = bench.reader.read(an_export(), 0)
    began = bench.clock.now
    await the_rest(reading)
    assert reading.fetched_at == began


async def test_a_refused_link_is_replaced_at_once_and_reading_goes_on_at_the_byte_reached() -> None:
    bench = Bench()
    bench.files.cuts = [10]
    bench.files.refusals = [None, LinkRefusedError("refused")]
    assert await bench.read() == CONTENT
    assert [(opened[0][-5:], opened[1]) for opened in bench.files.opened] == [
        ("sig=0", 0),
        ("sig=0", 10),
        ("sig=1", 10),
    ]


async def test_a_link_refused_before_anything_broke_costs_no_wait() -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(0).files[0].link.reveal()}
    assert await bench.read() == CONTENT
    assert bench.clock.slept == []
    assert bench.retries == ["LinkRefusedError"]


async def test_fresh_links_that_are_refused_too_are_replaced_more_and_more_slowly() -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(n).files[0].link.reveal() for n in range(4)}
    assert await bench.read() == CONTENT
    assert bench.clock.slept == [2.0, 4.0, 8.0]


@pytest.mark.parametrize("error", [MewsUnavailableError("502"), RateLimitedError("429", retry_after=5.0)])
async def test_mews_is_asked_for_ever_when_it_gives_no_links(error: RetriableError) -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(0).files[0].link.reveal()}
    bench.links.answers = [error] * 50
    assert await bench.read() == CONTENT
    assert len(bench.clock.slept) == 50
    assert bench.clock.slept[-1] == 60.0


async def test_a_refused_token_is_not_a_matter_of_waiting() -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(0).files[0].link.reveal()}
    bench.links.answers = [AccessRefusedError("401")]
    with pytest.raises(AccessRefusedError):
        await bench.read()


async def test_an_export_that_has_expired_half_way_says_so() -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(0).files[0].link.reveal()}
    bench.links.answers = [an_export(sizes=[], status=ExportStatus.EXPIRED)]
    with pytest.raises(ExportLostError, match="export expired") as caught:
        await bench.read()
    assert caught.value.expired


async def test_an_export_that_has_failed_half_way_is_lost_but_has_not_expired() -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(0).files[0].link.reveal()}
    bench.links.answers = [an_export(sizes=[], status=ExportStatus.FAILED)]
    with pytest.raises(ExportLostError, match="export failed") as caught:
        await bench.read()
    assert not caught.value.expired


async def test_an_export_missing_from_one_answer_is_asked_for_again() -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(0).files[0].link.reveal()}
    bench.links.answers = [None]
    assert await bench.read() == CONTENT


async def test_an_export_missing_from_two_answers_is_lost() -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(0).files[0].link.reveal()}
    bench.links.answers = [None, None]
    with pytest.raises(ExportLostError, match="export unknown to Mews"):
        await bench.read()


@pytest.mark.parametrize("status", [ExportStatus.PENDING, ExportStatus.PROCESSING, ExportStatus.UNKNOWN])
async def test_an_export_that_is_under_way_again_is_waited_for(status: ExportStatus) -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(0).files[0].link.reveal()}
    bench.links.answers = [an_export(sizes=[], status=status)] * 3
    assert await bench.read() == CONTENT
    assert len(bench.clock.slept) == 3


@pytest.mark.parametrize(
    "fresh",
    [
        an_export(1, sizes=[]),
        an_export(1, sizes=[len(CONTENT), 5]),
        an_export(1, sizes=[len(CONTENT) + 1]),
        an_export(1, names="other"),
    ],
    ids=["fewer", "more", "other size", "other name"],
)
async def test_another_file_list_loses_the_export(fresh: Export) -> None:
    bench = Bench()
    bench.files.refused_links = {an_export(0).files[0].link.reveal()}
    bench.links.answers = [fresh]
    with pytest.raises(ExportLostError, match="file list changed"):
        await bench.read()


@pytest.mark.parametrize("announced", [0, 5, len(CONTENT) - 1, len(CONTENT) + 1])
async def test_a_length_that_is_not_the_announced_one_twice_loses_the_export(announced: int) -> None:
    bench = Bench(size=announced)
    with pytest.raises(ExportLostError, match=f"{announced} bytes announced, {len(CONTENT)} served"):
        await bench.read()
    assert len(bench.files.opened) == 2
    assert bench.retries == ["size_mismatch"]


@pytest.mark.parametrize("announced", [0, 5, len(CONTENT) - 1])
async def test_nothing_past_the_announced_length_is_handed_out(announced: int) -> None:
    bench = Bench(size=announced)
    seen = bytearray()
    with pytest.raises(ExportLostError):
        await collect(bench.begin(), seen)
    assert seen == CONTENT[:announced]


@pytest.mark.parametrize("announced", [0, 5, len(CONTENT) - 1, len(CONTENT) + 1])
async def test_another_length_can_be_accepted_and_is_reported(announced: int) -> None:
    bench = Bench(size=announced, size_mismatch="accept")
    reading = bench.begin()
    with capture_logs() as logs:
        assert await the_rest(reading) == CONTENT
    assert reading.accepted_size == len(CONTENT)
    assert logs[-1]["event"] == "file_size_accepted"


async def test_a_file_shorter_than_what_was_read_of_it_is_never_accepted() -> None:
    bench = Bench(size_mismatch="accept")
    bench.files.content = CONTENT[:9]
    with pytest.raises(ExportLostError, match="size mismatch"):
        await bench.read(offset=12)


async def test_a_clean_end_that_comes_too_early_once_is_no_loss() -> None:
    bench = Bench()
    bench.files.content = CONTENT[:9]
    seen = b""
    async for chunk in bench.begin().chunks():
        seen += chunk
        if seen == CONTENT[:9]:
            bench.files.content = CONTENT[:20]
        if seen == CONTENT[:20]:
            bench.files.content = CONTENT
    assert seen == CONTENT


async def test_an_empty_file_is_whole_without_a_byte() -> None:
    assert await Bench(b"").read() == b""


async def test_leaving_early_closes_the_body() -> None:
    bench = Bench()
    reading = bench.begin()
    async with aclosing(reading.chunks()) as chunks:
        first = await anext(chunks)
    assert await the_rest(bench.begin(offset=len(first))) == CONTENT[len(first) :]
