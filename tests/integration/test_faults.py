"""What each fault of Mews and of its file host comes to in the topics: every line of a completed export, once.

Faults that strike one stream are tried together, each on a stream of its own in the same replica: that is quick, and
shows at the same time that the others go on. After every test the independent verifier compares all there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from streamer.core.backoff import BackoffPolicy
from streamer.mews.client import file_session
from streamer.model import PUBLIC_ENTITY_TYPES, EntityType
from streamer.sandbox import faults
from streamer.sandbox.exports import Status
from streamer.sandbox.faults import Action, FaultRule, FaultState
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.brokers import Kafka
from tests.replica import INSTANT, RunningReplica, Seen, check_published, running, see, settings_for

STALL_SECONDS = 0.4
RESERVATION, CUSTOMER = EntityType.RESERVATION, EntityType.CUSTOMER

LINES_PER_FILE = 60
FILES = [
    b"".join(b'{"Id":"%d-%d","Text":"%s"}\n' % (file, line, b"t" * (line * 3)) for line in range(LINES_PER_FILE))
    for file in range(3)
]
MIDDLE = len(FILES[1]) // 2
"""In the middle of a line of the middle file, which is the one that faults strike."""
LINES = LINES_PER_FILE * len(FILES)

WHOLE = ["export_requested", "export_ready", *["file_published"] * 3, "export_completed"]
"""What is told of an export that has come through."""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Waits of tenths of seconds instead of seconds to minutes, and a stall limit that a test can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        again = BackoffPolicy(base=0.1, ceiling=0.5)
        patch.setattr("streamer.service.stream._RETRY", again)
        patch.setattr("streamer.service.stream._NEW_EXPORT", again)
        patch.setattr("streamer.service.streams._DOWNLOAD_AGAIN", again)
        patch.setattr("streamer.service.streams.file_session", partial(file_session, stall_seconds=STALL_SECONDS))
        yield


class WatchedSimulator(Simulator):
    """A simulator that notes when it was asked."""

    def __init__(self, settings: SimulatorSettings) -> None:
        super().__init__(settings)
        self.calls: list[tuple[float, str]] = []

    def count(self, operation: str, entity_types: Sequence[str]) -> None:
        self.calls.append((time.monotonic(), operation))
        super().count(operation, entity_types)


@dataclasses.dataclass
class Stage:
    """A simulator with the same three files for each type, and a replica that publishes them."""

    simulator: WatchedSimulator
    replica: RunningReplica
    bootstrap_servers: str

    async def see(self) -> Seen:
        """All that is committed, once the verifier has found nothing to complain of."""
        seen = await see(self.bootstrap_servers, self.replica.config.topics.prefix)
        report = check_published(self.simulator, seen)
        assert report.records >= report.completed * LINES
        return seen

    def struck(self) -> None:
        """Every fault that was ordered has struck; else the test has shown nothing."""
        assert [state for state in self.simulator.fault_states() if not _has_struck(state)] == []


def _has_struck(state: FaultState) -> bool:
    return state.struck == (state.rule.times or state.struck) and state.struck > 0


@asynccontextmanager
async def stage(
    kafka: Kafka,
    prefix: str,
    *entity_types: EntityType,
    rules: Sequence[FaultRule] = (),
    simulator: Mapping[str, Any] | None = None,
    exports: Mapping[str, Any] | None = None,
) -> AsyncIterator[Stage]:
    entity_types = entity_types or (RESERVATION,)
    async with WatchedSimulator(msgspec.structs.replace(INSTANT, **(simulator or {}))) as mews:
        for entity_type in entity_types:
            mews.set_data(entity_type, FILES)
        for rule in rules:
            mews.add_fault(rule)
        settings = settings_for(
            kafka.bootstrap_servers, prefix, mews.url, *entity_types, exports={"max_active": 9, **(exports or {})}
        )
        async with running(settings) as replica:
            yield Stage(mews, replica, kafka.bootstrap_servers)


def on_file(*actions: Action) -> list[FaultRule]:
    """The first request for the middle file meets the first action, the second the second, and so on."""
    # A rule does not count the requests that met another one of its group.
    skips = [sum(a.group != b.group for a in actions[:place]) for place, b in enumerate(actions)]
    return [
        FaultRule(on="file", action=action, file_index=1, skip=skip)
        for skip, action in zip(skips, actions, strict=True)
    ]


def together(*actions: Action) -> list[FaultRule]:
    """One request for the middle file meets all of them."""
    return [FaultRule(on="file", action=action, file_index=1) for action in actions]


# --- faults that cost nothing but time ------------------------------------------------------------------------

CUT = faults.Cut(at_byte=MIDDLE)

SURVIVED: Mapping[str, list[FaultRule]] = {
    "the connection is cut in mid-file": on_file(CUT),
    "the connection is cut again and again": [
        *on_file(*(faults.Cut(at_byte=MIDDLE * part // 4) for part in range(1, 7))),
    ],
    "the connection is cut before the first byte": on_file(faults.Cut(at_byte=0)),
    "a body ends cleanly, but too early": on_file(faults.Short(at_byte=MIDDLE)),
    "a chunked body ends cleanly, but too early": on_file(faults.Short(at_byte=MIDDLE, chunked=True)),
    "a download stalls in mid-file": on_file(faults.Stall(at_byte=MIDDLE)),
    "a download never begins": on_file(faults.Stall()),
    "a download drips": on_file(faults.Drip(bytes_per_second=len(FILES[1]) * 2)),
    "gzip, although nobody asked": on_file(faults.Gzip()),
    "gzip that is cut": together(faults.Gzip(), CUT),
    "gzip that is cut, and gzip again": [
        *on_file(CUT),
        FaultRule(on="file", action=faults.Gzip(), file_index=1, times=2),
    ],
    "a range is ignored": on_file(CUT, faults.IgnoreRange()),
    "a range is answered with other bytes": on_file(CUT, faults.WrongContentRange(by=7)),
    "a range without an ETag": [*on_file(CUT), FaultRule(on="file", action=faults.NoEtag(), file_index=1, times=2)],
    "a redirect": on_file(faults.Redirect()),
    "a redirect in mid-file": on_file(CUT, faults.Redirect(code=302)),
    "a link is refused at once": on_file(faults.LinkExpired()),
    "a link is refused with 401 in mid-file": on_file(CUT, faults.Status(code=401)),
    "a link is refused with 403 in mid-file": on_file(CUT, faults.LinkExpired()),
    "a link is refused with 404 in mid-file": on_file(CUT, faults.Status(code=404, body="html")),
    "a link is refused with 410 in mid-file": on_file(CUT, faults.Status(code=410, body="empty")),
    "the file host fails with 500 and 503": on_file(faults.Status(code=500), faults.Status(code=503, body="html")),
    "the file host asks for patience": on_file(faults.Status(code=429, retry_after=1), faults.Status(code=408)),
    "the file host has nothing to say": on_file(faults.NoContent()),
    "the file host resets and hangs up": on_file(faults.Reset(), faults.Lost()),
    "exports look different": [
        FaultRule(on="add", action=faults.EarlyFiles()),
        FaultRule(on="get_all", action=faults.ExtraFields(), times=2),
        FaultRule(on="get_all", action=faults.UnknownEntityType(), times=2),
        FaultRule(on="get_all", action=faults.UnknownStatus(), times=2),
    ],
}  # fmt: skip

REQUEST_TROUBLE: Mapping[str, Action] = {
    "the answer is lost": faults.Lost(),
    "the connection is reset": faults.Reset(),
    "500": faults.Status(code=500),
    "503 as a page": faults.Status(code=503, body="html"),
    "408": faults.Status(code=408),
    "200 as a page": faults.Status(code=200, body="html"),
    "204": faults.NoContent(),
    "a redirect to a login": faults.Status(code=302, body="html"),
    "an account that is already exporting": faults.Status(code=400, message="Export is already running."),
}

LOST: Mapping[str, tuple[list[FaultRule], str]] = {
    "it fails while it is waited for": (
        [FaultRule(on="get_all", action=faults.FailExport())],
        "export_failed: Mews reports that the export failed",
    ),
    "it expires while it is waited for": ([FaultRule(on="get_all", action=faults.ExpireExport())], "export_expired: "),
    "it fails in mid-file": (on_file(faults.FailExport(at_byte=MIDDLE)), "export_failed: export failed"),
    "it expires in mid-file": (on_file(faults.ExpireExport(at_byte=MIDDLE)), "export_expired: "),
    "a file is another one in mid-file": (on_file(CUT, faults.ChangedEtag()), "export_failed: file changed"),
    # Two answers go by untouched: one to the poll, one as publishing begins. The third brings the fresh link.
    "its files have other names": (
        [*on_file(CUT, faults.LinkExpired()), FaultRule(on="get_all", action=faults.ChangedFiles(), skip=2)],
        "export_failed: file list changed",
    ),
    "its files have other sizes": (
        [*on_file(CUT, faults.LinkExpired()), FaultRule(on="get_all", action=faults.SizeMismatch(by=9), skip=2)],
        "export_failed: file list changed",
    ),
    "there are more files": (
        [*on_file(CUT, faults.LinkExpired()), FaultRule(on="get_all", action=faults.MoreFiles(), skip=2)],
        "export_failed: file list changed",
    ),
    "there are fewer files": (
        [*on_file(CUT, faults.LinkExpired()), FaultRule(on="get_all", action=faults.FewerFiles(), skip=2)],
        "export_failed: file list changed",
    ),
}


@dataclasses.dataclass(frozen=True)
class Tried:
    """What a case has left behind."""

    seen: Seen
    entity_type: EntityType
    faults: Sequence[FaultState]
    row: Mapping[str, Any]
    asked: int
    problem: str
    """What the verifier has to say of the replica's topics; of all nine cases, as it can't tell them apart."""

    def check(self) -> None:
        """Its faults have struck, and every line is where it belongs."""
        assert all(map(_has_struck, self.faults)), self.faults
        assert not self.problem, self.problem


@pytest.fixture(scope="module")
def tried(kafka: Kafka) -> dict[str, Tried]:
    """All cases of the three tables, nine at a time."""
    cases = {
        **SURVIVED,
        **{f"add: {name}": [FaultRule(on="add", action=action)] for name, action in REQUEST_TROUBLE.items()},
        **{f"lost: {name}": rules for name, (rules, _) in LOST.items()},
    }
    names = list(cases)
    size = len(PUBLIC_ENTITY_TYPES)

    async def try_all() -> dict[str, Tried]:
        found: dict[str, Tried] = {}
        for start in range(0, len(names), size):
            found |= await _try(kafka, {name: cases[name] for name in names[start : start + size]})
        return found

    return asyncio.run(try_all())


async def _try(kafka: Kafka, cases: Mapping[str, Sequence[FaultRule]]) -> dict[str, Tried]:
    types = dict(zip(cases, PUBLIC_ENTITY_TYPES, strict=False))
    rules = [msgspec.structs.replace(rule, entity_type=types[name]) for name, rules in cases.items() for rule in rules]
    async with stage(kafka, f"faults-{uuid.uuid4().hex[:8]}", *types.values(), rules=rules) as on:
        # Not each by itself: a case that goes wrong must fail its own test and not all of them.
        with contextlib.suppress(AssertionError):
            await on.replica.completed(*types.values())
        rows = {entity_type: on.replica.row(entity_type) for entity_type in types.values()}
        seen = await see(kafka.bootstrap_servers, on.replica.config.topics.prefix)
        problem = ""
        try:
            check_published(on.simulator, seen)
        except AssertionError as error:
            problem = str(error)
    states = on.simulator.fault_states()
    return {
        name: Tried(
            seen=seen,
            entity_type=entity_type,
            faults=[state for state in states if state.rule.entity_type == entity_type],
            row=rows[entity_type],
            asked=on.simulator.requests_by_type[entity_type]["add"],
            problem=problem,
        )
        for name, entity_type in types.items()
    }


@pytest.mark.parametrize("case", SURVIVED)
def test_an_export_comes_through_whole_although(tried: dict[str, Tried], case: str) -> None:
    found = tried[case]
    found.check()
    assert found.seen.told(found.entity_type) == WHOLE
    assert found.seen.completed(found.entity_type)["records"] == LINES
    assert len(found.seen.entities(found.entity_type)) == LINES
    assert (found.row["failures"], found.row["error"], found.row["cycle"]) == (0, None, 1)


@pytest.mark.parametrize("case", REQUEST_TROUBLE)
def test_one_export_of_the_cycle_is_published_when_the_request_meets(tried: dict[str, Tried], case: str) -> None:
    found = tried[f"add: {case}"]
    found.check()
    blocked = ["export_blocked"] if "already" in case else []
    assert found.seen.told(found.entity_type) == blocked + WHOLE
    # One cycle, whatever number of calls it took.
    assert found.row["cycle"] == 1
    assert found.asked == 2
    assert {r.header("ce_id").split("/")[0] for r in found.seen.entities(found.entity_type)} == {
        found.seen.completed(found.entity_type)["export_id"]
    }


@pytest.mark.parametrize("case", LOST)
def test_a_new_export_takes_the_place_of_one_that_is_lost_because(tried: dict[str, Tried], case: str) -> None:
    found, expected = tried[f"lost: {case}"], LOST[case][1]
    found.check()
    told = found.seen.told(found.entity_type)
    assert told[-len(WHOLE) :] == WHOLE
    ended = [e for e in found.seen.events(found.entity_type) if e["event"] in ("export_failed", "export_expired")]
    assert [f"{event['event']}: {event.get('reason', '')}" for event in ended] == [expected]
    assert found.seen.completed(found.entity_type)["export_id"] != ended[0]["export_id"]
    assert found.seen.completed(found.entity_type)["records"] == LINES
    assert (found.row["cycle"], found.row["failures"], found.row["error"]) == (2, 0, None)


# --- asking for an export -------------------------------------------------------------------------------------


def _ask_for_another(on: WatchedSimulator) -> str:
    """Somebody else asks Mews for an export of the same type with the same token."""
    settings = on.settings
    body = {
        "ClientToken": settings.client_token,
        "AccessToken": settings.access_tokens[0],
        "Client": "somebody else",
        "EntityType": RESERVATION.value,
    }
    return on.api.add(body, on.now(), on.machine()).id


async def test_somebody_elses_export_blocks_ours_until_it_ends(kafka: Kafka, prefix: str) -> None:
    rules = [FaultRule(on="add", action=faults.Hold(before=True))]
    async with stage(kafka, prefix, rules=rules, simulator={"pending_seconds": 600.0}) as on:
        await on.simulator.held()
        theirs = _ask_for_another(on.simulator)
        on.simulator.release()
        await on.replica.until(lambda: on.simulator.requests["add"] >= 3, "being refused three times")
        row = on.replica.row()
        assert "already running" in row["error"]
        assert (row["phase"], row["cycle"]) == ("requesting", 1)
        assert row["export"]["blocked_since"] is not None
        on.simulator.set_status(theirs, Status.SUCCESS)
        await on.replica.until(lambda: len(on.simulator.api.exports) == 2, "an export of our own")
        await _let_succeed(on)
        await on.replica.completed()
        seen = await on.see()
        on.struck()
    assert seen.told() == ["export_blocked", *WHOLE]
    blocked = seen.events()[0]
    assert blocked["export_id"] is None
    assert "already running" in blocked["reason"]


async def test_an_export_whose_id_was_lost_is_waited_out_and_never_published(kafka: Kafka, prefix: str) -> None:
    rules = [FaultRule(on="add", action=faults.Lost())]
    async with stage(kafka, prefix, rules=rules, simulator={"pending_seconds": 600.0}) as on:
        await on.replica.until(lambda: on.simulator.requests["add"] >= 3, "being refused by what is probably ours")
        (lost,) = on.simulator.api.exports
        on.simulator.set_status(lost, Status.SUCCESS)
        await on.replica.until(lambda: len(on.simulator.api.exports) == 2, "a second export")
        await _let_succeed(on)
        await on.replica.completed()
        assert on.replica.row()["cycle"] == 1
        seen = await on.see()
        on.struck()
    assert seen.told() == ["export_blocked", *WHOLE]
    assert seen.completed()["export_id"] != lost
    assert not [record for record in seen.entities() if record.header("ce_id").startswith(lost)]


async def _let_succeed(on: Stage) -> None:
    for export_id in on.simulator.api.exports:
        on.simulator.set_status(export_id, Status.SUCCESS)


async def test_a_400_that_never_ends_stops_the_stream_with_its_message(kafka: Kafka, prefix: str) -> None:
    rules = [FaultRule(on="add", action=faults.Status(code=400, message="Not for this enterprise."), times=None)]
    exports = {"blocked_limit": timedelta(milliseconds=300)}
    async with stage(kafka, prefix, rules=rules, exports=exports) as on:
        row = await on.replica.phase("stopped")
        assert "blocked for too long: Not for this enterprise." in row["error"]
        assert on.replica.metric("stream_stopped") == 1.0
        seen = await on.see()
    assert seen.told() == ["export_blocked"]


async def test_streams_that_are_refused_stop_with_what_mews_said_and_the_others_go_on(
    kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = dict(zip((401, 403, 404, 410, 301), PUBLIC_ENTITY_TYPES, strict=False))
    other = PUBLIC_ENTITY_TYPES[-1]
    rules = [
        FaultRule(on="add", action=faults.Status(code=code, message=f"No, {code}."), entity_type=kind, times=None)
        for code, kind in codes.items()
    ]
    async with stage(kafka, prefix, *codes.values(), other, rules=rules) as on:
        await on.replica.completed(other)
        for code, kind in codes.items():
            row = await on.replica.phase("stopped", kind)
            assert ("moved to another address" if code == 301 else f"No, {code}.") in row["error"]
            await on.replica.until(
                lambda kind=kind: on.replica.metric("stream_stopped", kind) == 1.0,  # type: ignore[misc]
                "the alarm",
            )
        assert on.replica.metric("stream_stopped", other) == 0.0
        seen = await on.see()
    assert seen.told(other) == WHOLE
    for kind in codes.values():
        assert seen.told(kind) == []


async def test_a_stopped_stream_looks_again_by_itself_and_goes_on_where_it_was(
    kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.service.stream.LOOK_AGAIN", timedelta(milliseconds=300))
    rules = [
        FaultRule(on="add", action=faults.Status(code=401)),
        FaultRule(on="get_all", action=faults.Status(code=403), skip=1),
        *on_file(faults.Redirect(location="ftp://elsewhere.example/file")),
    ]
    async with stage(kafka, prefix, rules=rules) as on:
        await on.replica.completed()
        assert on.replica.row()["cycle"] == 1
        assert on.replica.metric("stream_stopped") == 0.0
        seen = await on.see()
        on.struck()
    assert seen.told() == WHOLE


async def test_a_link_to_another_scheme_is_not_followed_and_stops_the_stream(kafka: Kafka, prefix: str) -> None:
    rules = on_file(faults.Redirect(location="file:///etc/hostname?sig=c2VjcmV0"))
    async with stage(kafka, prefix, rules=rules) as on:
        row = await on.replica.phase("stopped")
        assert "a scheme other than https is not followed" in row["error"]
        assert "c2VjcmV0" not in str(on.replica.replica.rows())
        on.struck()


# --- polls ----------------------------------------------------------------------------------------------------


async def test_whatever_goes_wrong_with_a_poll_it_is_asked_again(kafka: Kafka, prefix: str) -> None:
    answers: list[Action] = [
        faults.Status(code=500),
        faults.Status(code=503, body="html"),
        faults.Status(code=200, body="html"),
        faults.Status(code=408, body="empty"),
        faults.NoContent(),
        faults.Reset(),
        faults.Lost(),
    ]
    rules = [FaultRule(on="get_all", action=action) for action in answers]
    async with stage(kafka, prefix, rules=rules) as on:
        await on.replica.completed()
        seen = await on.see()
        on.struck()
        assert on.replica.metric("retries_total", reason="MewsUnavailableError") == 6.0
    assert seen.told() == WHOLE


# --- 429 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_what", "refusal", "least"),
    [
        ("add", faults.Status(code=429, retry_after=1), 1.0),
        # A date in whole seconds, counted from another one: both of the same answer, so nothing is lost.
        ("get_all", faults.Status(code=429, retry_after=1, retry_after_date=True), 1.0),
        ("add", faults.Status(code=429, body="html"), 0.5),
    ],
    ids=["seconds", "date", "none"],
)
async def test_after_429_no_call_of_the_token_leaves_before_its_time(
    kafka: Kafka,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    on_what: faults.Operation,
    refusal: faults.Status,
    least: float,
) -> None:
    monkeypatch.setattr("streamer.mews.limits._BACKOFF", BackoffPolicy(base=1.0, ceiling=1.0))
    # Customer polls meanwhile: its calls have to hold back as well.
    rules = [
        FaultRule(on="get_all", action=faults.UnknownStatus(), entity_type=CUSTOMER, times=4),
        FaultRule(on=on_what, action=refusal, entity_type=RESERVATION),
    ]
    async with stage(kafka, prefix, RESERVATION, CUSTOMER, rules=rules) as on:
        await on.replica.completed(RESERVATION, CUSTOMER)
        calls = [at for at, operation in on.simulator.calls if operation != "file"]
        silences = [later - earlier for earlier, later in itertools.pairwise(calls)]
        assert max(silences) >= least - 0.05
        seen = await on.see()
        on.struck()
    assert seen.told(RESERVATION) == WHOLE
    assert seen.told(CUSTOMER) == WHOLE


# --- files ----------------------------------------------------------------------------------------------------


async def test_a_link_that_has_run_out_by_the_time_a_download_breaks_is_replaced(kafka: Kafka, prefix: str) -> None:
    rules = together(faults.Hold(at_byte=MIDDLE), faults.Cut(at_byte=MIDDLE))
    with pytest.MonkeyPatch.context() as patch:
        # Held for as long as the test likes: no stall.
        patch.setattr("streamer.service.streams.file_session", file_session)
        async with stage(kafka, prefix, rules=rules) as on:
            await on.simulator.held()
            on.simulator.advance(660)
            on.simulator.release()
            await on.replica.completed()
            seen = await on.see()
            on.struck()
            assert on.replica.metric("retries_total", reason="LinkRefusedError") == 1.0
    assert seen.told() == WHOLE


@pytest.mark.parametrize("by", [-7, 7])
async def test_a_file_of_another_length_than_announced_fails_and_the_next_export_completes(
    kafka: Kafka, prefix: str, by: int
) -> None:
    rules = [FaultRule(on="get_all", action=faults.SizeMismatch(by=by), times=None)]
    async with stage(kafka, prefix, rules=rules) as on:
        await on.replica.until(lambda: on.replica.row()["failures"] > 0, "a failed export")
        on.simulator.clear_faults()
        await on.replica.completed()
        seen = await on.see()
    failed = [event["reason"] for event in seen.events() if event["event"] == "export_failed"]
    announced = len(FILES[0]) + by
    assert failed[0] == f"size mismatch: {announced} bytes announced, {len(FILES[0])} served"
    assert seen.told()[:3] == ["export_requested", "export_ready", "export_failed"]
    assert seen.told()[-len(WHOLE) :] == WHOLE


async def test_a_file_of_another_length_is_accepted_where_that_is_wanted(kafka: Kafka, prefix: str) -> None:
    rules = [FaultRule(on="get_all", action=faults.SizeMismatch(by=7), times=None)]
    async with stage(kafka, prefix, rules=rules, exports={"size_mismatch": "accept"}) as on:
        await on.replica.completed()
        seen = await see(kafka.bootstrap_servers, prefix)
        on.struck()
    assert seen.told() == WHOLE
    assert seen.completed()["records"] == len(seen.entities()) == LINES
    assert seen.completed()["bytes"] == sum(map(len, FILES))
