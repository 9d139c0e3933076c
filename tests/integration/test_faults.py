"""What each fault of Mews and of its file host comes to in the topics: every line of a completed export, once.

Faults that strike one stream are tried together, each on a stream of its own in the same replica: that is quick, and
shows at the same time that the others go on. After every test the independent verifier compares all there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from streamer.model import PUBLIC_ENTITY_TYPES, EntityType
from streamer.sandbox import faults
from streamer.sandbox.faults import Action, FaultRule, FaultState
from tests.brokers import Kafka
from tests.replica import Seen, check_published, see
from tests.stage import (
    FILES,
    LINES,
    MIDDLE,
    WHOLE,
    has_struck,
    on_file,
    quick_waits,
    stage,
    together,
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with quick_waits():
        yield


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
        assert all(map(has_struck, self.faults)), self.faults
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
    # What the lost one left in the topic, its successor need not say again.
    completed = found.seen.completed(found.entity_type)
    assert completed["records"] + completed["unchanged"] == LINES
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
    # What the lost one left in the topic, its successor need not say again.
    completed = found.seen.completed(found.entity_type)
    assert completed["records"] + completed["unchanged"] == LINES
    assert (found.row["cycle"], found.row["failures"], found.row["error"]) == (2, 0, None)
