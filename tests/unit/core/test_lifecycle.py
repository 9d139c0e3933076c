"""Every pair of state and input: what follows and what is told, or that it can't happen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.checkpoint import (
    Active,
    Checkpoint,
    Completed,
    Counts,
    FileList,
    Idle,
    LastError,
    PartitionCounts,
    Position,
    Publishing,
    Reconciling,
    Request,
    Requesting,
    Share,
    State,
    Stopped,
    Waiting,
    WantedSnapshot,
)
from streamer.core.inputs import (
    Abandoned,
    Added,
    Adopted,
    Blocked,
    Due,
    Ended,
    Entombed,
    FiltersRefused,
    Input,
    LookedAt,
    Overflowed,
    Published,
    Ready,
    Refused,
    Retried,
)
from streamer.core.lifecycle import LifecycleError, transition
from streamer.core.windows import Cut
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, StreamKey, Window
from tests.unit.cases import cases

REQUESTED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOW = REQUESTED + timedelta(minutes=90)
LATER = NOW + timedelta(hours=1)
STREAM = StreamKey(ConnectionName("alpine"), EntityType.BILL)
E1 = ExportId("e1")
REQUEST = Request(cycle=4, kind=ExportKind.SNAPSHOT, requested_at=REQUESTED)
FILES = FileList(count=2, size=100, digest="d")
FIRST = Position(file=0, name="a.jsonl", size=60)
SECOND = Position(file=1, name="b.jsonl", size=40)
ERROR = LastError(at=REQUESTED, message="earlier")

IDLE = Idle()
REQUESTING = Requesting(request=REQUEST, attempt=2)
BLOCKED = Requesting(request=REQUEST, attempt=2, blocked_since=REQUESTED)
WAITING = Waiting(request=REQUEST, export_id=E1)
PUBLISHING = Publishing(
    request=REQUEST,
    export_id=E1,
    ready_at=REQUESTED,
    files=FILES,
    position=FIRST,
    counts=Counts(size=10, lines=4, records=1, dead_letters=1, blank=2),
    partitions={"1": PartitionCounts(records=1, tombstones=0, start=7, end=8, digest="00000000000000fe")},
)
RECONCILING = Reconciling(
    request=REQUEST,
    export_id=E1,
    ready_at=REQUESTED,
    files=FILES,
    counts=Counts(size=60, lines=9, records=4, dead_letters=2, blank=3, tombstones=1),
    partitions={"1": PartitionCounts(records=1, tombstones=1, start=7, end=9, digest="00000000000000fe")},
    topic="mews.bill",
    due=5,
)
STOPPED = Stopped(reason="no", since=REQUESTED, look_at=NOW, before=WAITING)
STATES: dict[str, State] = {
    "idle": IDLE,
    "requesting": REQUESTING,
    "waiting": WAITING,
    "publishing": PUBLISHING,
    "reconciling": RECONCILING,
    "stopped": STOPPED,
}
BLOCK = Counts(size=50, lines=5, records=3, dead_letters=1, blank=1)
PUBLISHED = Published(
    position=msgspec.structs.replace(FIRST, offset=60, line=9),
    counts=BLOCK,
    partitions={
        1: PartitionCounts(records=2, tombstones=0, start=9, end=11, digest="0000000000000003"),
        11: PartitionCounts(records=1, tombstones=0, start=0, end=1, digest="0000000000000004"),
    },
    topic="mews.bill",
    topic_partitions=12,
)
FILE_ENDED = msgspec.structs.replace(PUBLISHED, position=SECOND, file_ended=True)
LAST = msgspec.structs.replace(PUBLISHED, position=Position(file=2), file_ended=True, last=True)
INPUTS: dict[str, Input] = {
    "due": Due(ExportKind.SNAPSHOT),
    "retried": Retried(),
    "added": Added(E1),
    "blocked": Blocked("already running"),
    "refused": Refused("401", LATER),
    "ready": Ready(files=FILES, first=FIRST),
    "ended": Ended("broken", not_before=LATER),
    "published": PUBLISHED,
    "entombed": Entombed(
        counts=Counts(tombstones=2),
        partitions={1: PartitionCounts(records=0, tombstones=2, start=12, end=14, digest="0000000000000001")},
    ),
    "overflowed": Overflowed("too many", LATER),
    "looked at": LookedAt(),
    "adopted": Adopted(E1),
    "filters refused": FiltersRefused("Invalid Filters"),
    "abandoned": Abandoned("by a signal"),
}
NEXT_PHASE = {
    ("idle", "due"): "requesting",
    ("idle", "refused"): "stopped",
    ("requesting", "retried"): "requesting",
    ("requesting", "added"): "waiting",
    ("requesting", "blocked"): "requesting",
    ("requesting", "refused"): "stopped",
    ("requesting", "adopted"): "waiting",
    ("requesting", "filters refused"): "idle",
    ("waiting", "abandoned"): "idle",
    ("publishing", "abandoned"): "idle",
    ("waiting", "ready"): "publishing",
    ("waiting", "ended"): "idle",
    ("waiting", "refused"): "stopped",
    ("publishing", "published"): "publishing",
    ("publishing", "ended"): "idle",
    ("publishing", "overflowed"): "stopped",
    ("publishing", "refused"): "stopped",
    ("reconciling", "entombed"): "reconciling",
    ("reconciling", "refused"): "stopped",
    ("reconciling", "abandoned"): "idle",
    ("stopped", "looked at"): "waiting",
}
TOLD = {
    ("requesting", "added"): ["export_requested"],
    ("requesting", "adopted"): ["export_requested"],
    ("requesting", "blocked"): ["export_blocked"],
    ("waiting", "ready"): ["export_ready"],
    ("waiting", "ended"): ["export_failed"],
    ("publishing", "ended"): ["export_failed"],
    ("publishing", "overflowed"): ["export_failed"],
    ("reconciling", "abandoned"): ["export_completed"],
    ("waiting", "abandoned"): ["export_failed"],
    ("publishing", "abandoned"): ["export_failed"],
}


def checkpoint_of(state: State, **fields: Any) -> Checkpoint:
    return Checkpoint(**{"term": 3, "owner": "me", "cycle": 4, "failures": 2, "error": ERROR, "state": state, **fields})


def after(state: State, event: Input, **fields: Any) -> tuple[Checkpoint, list[dict[str, Any]]]:
    """The checkpoint that follows, and the bodies of the events as they are published."""
    outcome = transition(STREAM, checkpoint_of(state, **fields), event, now=NOW)
    return outcome.checkpoint, [msgspec.json.decode(event.value()) for event in outcome.events]


def told(event: str, **fields: Any) -> dict[str, Any]:
    return {
        "event": event,
        "connection": "alpine",
        "entity_type": "Bill",
        "export_id": "e1",
        "kind": "snapshot",
        "window": None,
        "at": "2026-03-01T13:30:00Z",
        **fields,
    }


@cases(("state", "event"), list(product(STATES, INPUTS)))
def test_a_pair_of_state_and_input_leads_where_the_design_says_or_can_not_happen(state: str, event: str) -> None:
    pair = (state, event)
    if pair not in NEXT_PHASE:
        with pytest.raises(LifecycleError, match=f"{type(INPUTS[event]).__name__} .* {state}"):
            after(STATES[state], INPUTS[event])
        return
    checkpoint, events = after(STATES[state], INPUTS[event])
    assert checkpoint.phase == NEXT_PHASE[pair]
    assert [body["event"] for body in events] == TOLD.get(pair, [])
    assert (checkpoint.v, checkpoint.term, checkpoint.owner) == (1, 3, "me")


def test_a_due_export_begins_a_new_cycle_with_the_time_of_its_request() -> None:
    checkpoint, events = after(IDLE, Due(ExportKind.SNAPSHOT))
    request = Request(cycle=5, kind=ExportKind.SNAPSHOT, requested_at=NOW)
    assert checkpoint == checkpoint_of(Requesting(request=request), cycle=5)
    assert not events


def test_a_due_window_is_asked_for_as_it_was_cut() -> None:
    window = Window(REQUESTED, NOW)
    checkpoint, _ = after(IDLE, Due(ExportKind.WINDOW, window))
    assert isinstance(checkpoint.state, Requesting)
    assert checkpoint.state.request == Request(cycle=5, kind=ExportKind.WINDOW, requested_at=NOW, window=window)


def test_a_repeated_request_stays_in_its_cycle() -> None:
    checkpoint, _ = after(BLOCKED, Retried())
    assert checkpoint == checkpoint_of(msgspec.structs.replace(BLOCKED, attempt=3))


def test_an_accepted_request_gets_its_id_and_forgets_the_last_error() -> None:
    checkpoint, events = after(REQUESTING, Added(E1))
    assert checkpoint == checkpoint_of(WAITING, error=None)
    assert events == [told("export_requested")]


def test_a_blocked_request_is_told_once_and_keeps_since_when() -> None:
    first, events = after(REQUESTING, Blocked("already running"))
    noted = LastError(at=NOW, message="already running")
    assert first == checkpoint_of(msgspec.structs.replace(REQUESTING, blocked_since=NOW), error=noted)
    assert events == [told("export_blocked", export_id=None, reason="already running")]
    again, events = after(BLOCKED, Blocked("still running"))
    assert again.state == BLOCKED
    assert again.error == LastError(at=NOW, message="still running")
    assert not events


@cases("state", [IDLE, REQUESTING, WAITING, PUBLISHING, RECONCILING])
def test_a_refused_stream_stops_and_later_goes_on_exactly_where_it_was(state: Active) -> None:
    stopped, events = after(state, Refused("401", LATER))
    error = LastError(at=NOW, message="401")
    assert stopped == checkpoint_of(Stopped(reason="401", since=NOW, look_at=LATER, before=state), error=error)
    assert not events
    assert after(stopped.state, LookedAt())[0].state == state


def test_a_ready_export_is_published_from_its_first_byte() -> None:
    checkpoint, events = after(WAITING, Ready(files=FILES, first=FIRST))
    begun = Publishing(request=REQUEST, export_id=E1, ready_at=NOW, files=FILES, position=FIRST)
    assert checkpoint == checkpoint_of(begun, error=None)
    assert events == [told("export_ready", files=2, bytes=100)]


@cases("state", [WAITING, PUBLISHING])
@cases(("expired", "body"), [(False, told("export_failed", reason="broken")), (True, told("export_expired"))])
def test_an_export_that_came_to_nothing_is_told_and_counted(state: State, expired: bool, body: dict[str, Any]) -> None:
    checkpoint, events = after(state, Ended("broken", not_before=LATER, expired=expired))
    error = LastError(at=NOW, message="broken")
    assert checkpoint == checkpoint_of(Idle(not_before=LATER, failed=ExportKind.SNAPSHOT), failures=3, error=error)
    assert events == [body]


def test_too_many_dead_letters_fail_the_export_and_stop_the_stream_before_a_new_one() -> None:
    checkpoint, events = after(PUBLISHING, Overflowed("too many", LATER), partitions=12)
    stopped = Stopped(reason="too many", since=NOW, look_at=LATER, before=Idle())
    assert checkpoint == checkpoint_of(stopped, partitions=12, error=LastError(at=NOW, message="too many"))
    assert events == [told("export_failed", reason="too many")]


def test_a_block_moves_the_position_and_adds_to_the_counts() -> None:
    checkpoint, events = after(PUBLISHING, PUBLISHED)
    assert checkpoint.state == msgspec.structs.replace(
        PUBLISHING,
        position=PUBLISHED.position,
        counts=Counts(size=60, lines=9, records=4, dead_letters=2, blank=3),
        partitions={
            "1": PartitionCounts(records=3, tombstones=0, start=7, end=11, digest="0000000000000101"),
            "11": PartitionCounts(records=1, tombstones=0, start=0, end=1, digest="0000000000000004"),
        },
    )
    assert checkpoint.error is None
    assert checkpoint.failures == 2
    assert not events


def test_the_number_of_partitions_is_that_of_the_first_block_for_ever() -> None:
    assert after(PUBLISHING, PUBLISHED)[0].partitions == 12
    assert after(PUBLISHING, PUBLISHED, partitions=6)[0].partitions == 6
    assert after(PUBLISHING, LAST)[0].partitions == 12


def test_the_last_line_of_a_file_is_told_with_the_file_that_ended() -> None:
    _, events = after(PUBLISHING, FILE_ENDED)
    assert events == [told("file_published", file=0, name="a.jsonl", bytes=60)]


def test_with_the_last_block_the_export_is_completed_and_everything_accounted_for() -> None:
    in_last_file = msgspec.structs.replace(PUBLISHING, position=SECOND)
    checkpoint, events = after(in_last_file, LAST)
    counts = Counts(size=60, lines=9, records=4, dead_letters=2, blank=3)
    done = Completed(export_id=E1, requested_at=REQUESTED, completed_at=NOW, counts=counts)
    assert checkpoint == checkpoint_of(
        IDLE, failures=0, error=None, partitions=12, ends={"1": 11, "11": 1}, snapshot=done, covered_to=REQUESTED
    )
    assert events == [
        told("file_published", file=1, name="b.jsonl", bytes=40),
        told(
            "export_completed",
            topic="mews.bill",
            files=2,
            bytes=60,
            lines=9,
            records=4,
            unchanged=0,
            dead_letters=2,
            blank=3,
            tombstones=0,
            tombstones_withheld=0,
            tombstones_withheld_why="",
            requested_at="2026-03-01T12:00:00Z",
            ready_at="2026-03-01T12:00:00Z",
            seconds=5400.0,
            partitions={
                "1": {"records": 3, "tombstones": 0, "start": 7, "end": 11, "digest": "0000000000000101"},
                "11": {"records": 1, "tombstones": 0, "start": 0, "end": 1, "digest": "0000000000000004"},
            },
        ),
    ]


def test_tombstones_that_are_due_follow_the_last_line_and_the_last_of_them_completes_the_export() -> None:
    in_last_file = msgspec.structs.replace(PUBLISHING, position=SECOND, share=Share(end=12))
    due = msgspec.structs.replace(LAST, share=Share(end=12), due=3)
    checkpoint, events = after(in_last_file, due)
    assert isinstance(checkpoint.state, Reconciling)
    assert (checkpoint.state.due, checkpoint.state.counts.records, checkpoint.partitions) == (3, 4, 12)
    assert [body["event"] for body in events] == ["file_published"]

    some = msgspec.structs.replace(INPUTS["entombed"], last=True)
    checkpoint, events = after(RECONCILING, some, let_tombstones_through=True)
    assert (checkpoint.state, checkpoint.let_tombstones_through) == (IDLE, False)
    assert checkpoint.snapshot is not None
    assert checkpoint.snapshot.counts.tombstones == 3
    (completed,) = events
    assert (completed["tombstones"], completed["tombstones_withheld"]) == (3, 0)
    assert completed["partitions"] == {
        "1": {"records": 1, "tombstones": 3, "start": 7, "end": 14, "digest": "00000000000000ff"}
    }


def test_tombstones_that_can_not_follow_any_more_are_told_as_withheld() -> None:
    nothing = Entombed(counts=Counts(), partitions={}, last=True, withheld_why="files_gone")
    checkpoint, (completed,) = after(RECONCILING, nothing)
    assert (completed["tombstones"], completed["tombstones_withheld"]) == (1, 4)
    assert completed["tombstones_withheld_why"] == "files_gone"
    assert checkpoint.snapshot is not None
    assert (checkpoint.snapshot.tombstones_withheld, checkpoint.snapshot.withheld_why) == (4, "files_gone")


def test_another_scope_counts_once_nothing_is_left_of_what_only_the_last_one_reached() -> None:
    request = msgspec.structs.replace(REQUEST, scope="narrow")
    wide = Completed(
        export_id=ExportId("e0"), requested_at=REQUESTED, completed_at=REQUESTED, counts=Counts(), scope="wide"
    )
    compared = msgspec.structs.replace(PUBLISHING, request=request, share=Share(end=12))

    def scopes_after(before: Publishing, *, snapshot: Completed | None = wide, **withheld: Any) -> Any:
        last = msgspec.structs.replace(LAST, share=before.share, **withheld)
        completed = after(before, last, snapshot=snapshot)[0].snapshot
        assert completed is not None
        return completed.scope, completed.earlier_scope

    assert scopes_after(compared, withheld=1, withheld_why="scope_changed") == ("narrow", "wide")
    assert scopes_after(compared, withheld=1, withheld_why="unreadable_lines") == ("narrow", "wide")
    assert scopes_after(msgspec.structs.replace(compared, share=None)) == ("narrow", "wide")
    assert scopes_after(compared) == ("narrow", None)
    assert scopes_after(compared, snapshot=None, withheld=1, withheld_why="too_many") == ("narrow", None)
    still = msgspec.structs.replace(wide, scope="narrow", earlier_scope="wide")
    assert scopes_after(compared, snapshot=still, withheld=1, withheld_why="scope_changed") == ("narrow", "wide")
    back = msgspec.structs.replace(wide, scope="other", earlier_scope="narrow")
    assert scopes_after(compared, snapshot=back, withheld=1, withheld_why="too_many") == ("narrow", None)


def test_an_export_without_files_completes_with_no_partitions_and_no_file() -> None:
    empty = Publishing(request=REQUEST, export_id=E1, ready_at=REQUESTED, files=FileList(0, 0, "d"))
    last = msgspec.structs.replace(LAST, position=Position(), counts=Counts(), partitions={})
    checkpoint, events = after(empty, last)
    assert checkpoint.state == IDLE
    assert [body["event"] for body in events] == ["export_completed"]
    assert events[0]["partitions"] == {}
    assert [events[0][name] for name in ("files", "lines", "records", "bytes")] == [0, 0, 0, 0]


def test_a_completed_window_is_remembered_beside_the_snapshot() -> None:
    window = Window(REQUESTED, NOW)
    request = Request(cycle=4, kind=ExportKind.WINDOW, requested_at=REQUESTED, window=window)
    snapshot = Completed(ExportId("e0"), REQUESTED, REQUESTED, Counts())
    checkpoint, events = after(msgspec.structs.replace(PUBLISHING, request=request), LAST, snapshot=snapshot)
    assert checkpoint.snapshot == snapshot
    assert checkpoint.window is not None
    assert checkpoint.window.window == window
    assert events[-1]["window"] == {"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:30:00Z"}


WINDOW = Window(REQUESTED - timedelta(hours=1), REQUESTED)
WINDOW_REQUEST = Request(
    cycle=4,
    kind=ExportKind.WINDOW,
    requested_at=REQUESTED,
    window=WINDOW,
    covers_to=WINDOW.end,
    server_time=REQUESTED,
    scope="s1",
)
WINDOW_WAITING = Waiting(request=WINDOW_REQUEST, export_id=E1)
WINDOW_PUBLISHING = msgspec.structs.replace(PUBLISHING, request=WINDOW_REQUEST)


def test_a_completed_window_moves_the_chain_and_forgets_its_failures() -> None:
    span = timedelta(hours=2)
    checkpoint, _ = after(WINDOW_PUBLISHING, LAST, covered_to=WINDOW.start, window_failures=4, window_span=span)
    assert checkpoint.covered_to == WINDOW.end
    assert (checkpoint.window_failures, checkpoint.window_span) == (0, None)
    assert checkpoint.window is not None
    assert checkpoint.window.scope == "s1"


def test_a_window_that_comes_to_nothing_leaves_the_chain_where_it_is_and_halves_the_third_time() -> None:
    checkpoint, _ = after(WINDOW_WAITING, INPUTS["ended"], covered_to=WINDOW.start, window_failures=1)
    assert (checkpoint.covered_to, checkpoint.window_failures, checkpoint.window_span) == (WINDOW.start, 2, None)
    checkpoint, _ = after(WINDOW_WAITING, INPUTS["ended"], covered_to=WINDOW.start, window_failures=2)
    assert (checkpoint.window_failures, checkpoint.window_span) == (3, timedelta(minutes=30))
    assert checkpoint.state == Idle(not_before=LATER, failed=ExportKind.WINDOW)


def test_the_first_snapshot_begins_the_chain_at_mews_time_of_its_request_and_later_ones_leave_it() -> None:
    at_mews = REQUESTED - timedelta(days=3)
    request = msgspec.structs.replace(REQUEST, server_time=at_mews)
    publishing = msgspec.structs.replace(PUBLISHING, request=request)
    assert after(publishing, LAST)[0].covered_to == at_mews
    assert after(publishing, LAST, covered_to=WINDOW.start)[0].covered_to == WINDOW.start
    before_windows = Completed(ExportId("e0"), WINDOW.start, REQUESTED, Counts())
    assert after(publishing, LAST, snapshot=before_windows)[0].covered_to == WINDOW.start


def test_the_time_at_mews_is_that_of_the_answer_where_it_was_not_known_before() -> None:
    for known, expected in ((None, NOW), (REQUESTED, REQUESTED)):
        requesting = Requesting(request=msgspec.structs.replace(REQUEST, server_time=known))
        state = after(requesting, Added(E1, NOW))[0].state
        assert isinstance(state, Waiting)
        assert state.request.server_time == expected


def test_a_window_is_asked_for_once_more_as_it_is_cut_now_and_a_snapshot_with_the_time_of_its_first_call() -> None:
    newer = Window(WINDOW.start, NOW)
    retried = Retried(scope="s2", cut=Cut(newer, covers_to=NOW, partial=True), server_time=NOW)
    state = after(Requesting(request=WINDOW_REQUEST), retried)[0].state
    assert isinstance(state, Requesting)
    assert state.attempt == 2
    assert state.request == msgspec.structs.replace(
        WINDOW_REQUEST, window=newer, covers_to=NOW, partial=True, scope="s2", server_time=NOW
    )
    snapshot = msgspec.structs.replace(REQUEST, server_time=REQUESTED)
    state = after(Requesting(request=snapshot), Retried(scope="s2", server_time=NOW))[0].state
    assert isinstance(state, Requesting)
    assert state.request == msgspec.structs.replace(snapshot, scope="s2")


def test_an_account_that_may_not_filter_is_remembered_until_a_window_is_accepted() -> None:
    requesting = Requesting(request=WINDOW_REQUEST)
    checkpoint, events = after(requesting, FiltersRefused("Invalid Filters"))
    assert (checkpoint.state, checkpoint.filters_refused_at, checkpoint.failures) == (IDLE, NOW, 2)
    assert not events
    assert after(requesting, Added(E1), filters_refused_at=REQUESTED)[0].filters_refused_at is None
    assert after(REQUESTING, Added(E1), filters_refused_at=REQUESTED)[0].filters_refused_at == REQUESTED


def test_what_is_wanted_begins_once_and_stays_wanted_while_it_comes_to_nothing() -> None:
    wanted = WantedSnapshot(changes_only=False)
    due = Due(ExportKind.SNAPSHOT, changes_only=False, wanted=True)
    begun, _ = after(IDLE, due, wanted_snapshot=wanted, wanted_window=True)
    assert (begun.wanted_snapshot, begun.wanted_window) == (None, True)
    request = msgspec.structs.replace(REQUEST, wanted=True, changes_only=False)
    waiting = Waiting(request=request, export_id=E1)
    assert after(waiting, INPUTS["ended"])[0].wanted_snapshot == wanted
    # Another signal has come meanwhile, which would be content with changes.
    assert after(waiting, INPUTS["ended"], wanted_snapshot=WantedSnapshot())[0].wanted_snapshot == wanted
    publishing = msgspec.structs.replace(PUBLISHING, request=request)
    assert after(publishing, INPUTS["overflowed"])[0].wanted_snapshot == wanted
    assert after(waiting, INPUTS["abandoned"])[0].wanted_snapshot is None
    window = msgspec.structs.replace(WINDOW_WAITING, request=msgspec.structs.replace(WINDOW_REQUEST, wanted=True))
    assert after(window, INPUTS["ended"])[0].wanted_window
    assert not after(IDLE, Due(ExportKind.WINDOW, window=WINDOW, wanted=True), wanted_window=True)[0].wanted_window


def test_tombstones_are_let_through_until_the_next_snapshot_completes() -> None:
    assert after(WINDOW_PUBLISHING, LAST, let_tombstones_through=True)[0].let_tombstones_through
    assert not after(PUBLISHING, LAST, let_tombstones_through=True)[0].let_tombstones_through


class Life:
    """A stream fed with inputs; what it tells and how it moves is watched."""

    def __init__(self) -> None:
        self.checkpoint = Checkpoint()
        self.now = REQUESTED
        self.completed: list[str] = []
        self.blocked: list[int] = []
        self.accepted = 0
        self.served = Counts()
        self.ends: dict[int, int] = {}

    def feed(self, event: Input) -> None:
        """Whatever is possible; the rest must leave no trace."""
        before, self.now = self.checkpoint, self.now + timedelta(minutes=1)
        try:
            outcome = transition(STREAM, before, event, now=self.now)
        except LifecycleError:
            return
        self.checkpoint = outcome.checkpoint
        self.check_move(before.state, self.checkpoint.state, event)
        assert self.checkpoint.cycle == before.cycle + isinstance(event, Due)
        for told in outcome.events:
            if told.name == "export_completed":
                self.completed.append(told.body["export_id"])
                self.check_account(told.body)
            if told.name == "export_blocked":
                self.blocked.append(self.checkpoint.cycle)

    def check_move(self, before: State, after: State, event: Input) -> None:
        if isinstance(before, Publishing) and isinstance(after, Publishing):
            reached, now = before.position, after.position
            assert (reached.file, reached.offset, reached.line) <= (now.file, now.offset, now.line)
            assert before.request == after.request
            for partition, counts in before.partitions.items():
                assert counts.end <= after.partitions[partition].end
                assert counts.start == after.partitions[partition].start
        if isinstance(event, Published):
            self.served = self.served + event.counts
        if isinstance(event, Ready):
            self.served = Counts()

    def check_account(self, body: Mapping[str, Any]) -> None:
        assert body["lines"] == body["records"] + body["unchanged"] + body["dead_letters"] + body["blank"]
        assert body["records"] == sum(counts.records for counts in body["partitions"].values())
        assert {name: body[name] for name in ("lines", "records", "dead_letters", "blank")} == {
            name: getattr(self.served, name) for name in ("lines", "records", "dead_letters", "blank")
        }

    def a_block(self, records: int, blank: int, *, file_ended: bool) -> Published:
        """A block that goes on where the stream is."""
        state = self.checkpoint.state
        at, files = (state.position, state.files) if isinstance(state, Publishing) else (Position(), FILES)
        start = self.ends.get(records, 0)
        self.ends[records] = start + records + 1
        partitions = {records: PartitionCounts(records, 0, start, start + records, "0" * 16)} if records else {}
        moved = msgspec.structs.replace(at, offset=at.offset + 10 * records + blank, line=at.line + records + blank)
        return Published(
            position=Position(file=at.file + 1) if file_ended else moved,
            counts=Counts(size=10 * records + blank, lines=records + blank, records=records, blank=blank),
            partitions=partitions,
            topic="mews.bill",
            topic_partitions=12,
            file_ended=file_ended,
            last=file_ended and at.file + 1 >= files.count,
        )


kinds = st.sampled_from([*INPUTS, "added", "ready", "published", "published", "published", "blocked", "retried"])
choices = st.lists(st.tuples(kinds, st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=60)


@given(choices)
def test_whatever_happens_cycles_only_grow_positions_never_go_back_and_ends_are_told_once(
    happenings: list[tuple[str, int, int, bool]],
) -> None:
    life = Life()
    for kind, records, blank, file_ended in happenings:
        event = INPUTS[kind]
        if kind == "published":
            event = life.a_block(records, blank, file_ended=file_ended)
        if isinstance(event, Added | Adopted):
            life.accepted += 1
            event = msgspec.structs.replace(event, export_id=ExportId(f"e{life.accepted}"))
        life.feed(event)
    remembered = life.checkpoint.snapshot
    assert len(set(life.completed)) == len(life.completed)
    assert (life.completed[-1] if life.completed else None) == (remembered.export_id if remembered else None)
    assert len(set(life.blocked)) == len(life.blocked)


def test_a_block_below_what_was_published_tells_that_the_topic_was_made_anew_and_everything_begins_anew() -> None:
    remembered = Completed(export_id=ExportId("e0"), requested_at=REQUESTED, completed_at=REQUESTED, counts=Counts())
    before = Checkpoint(
        state=PUBLISHING, cycle=4, partitions=12, ends={"1": 8, "2": 5}, snapshot=remembered, window=remembered
    )
    life = Life()
    life.ends = {2: 4}
    block = life.a_block(2, 0, file_ended=False)
    outcome = transition(STREAM, before, block, now=NOW)
    after = outcome.checkpoint
    assert after.state == Idle()
    assert (after.partitions, after.ends, after.snapshot, after.window, after.failures) == (None, {}, None, None, 1)
    assert [event.name for event in outcome.events] == ["export_failed"]
    assert after.error is not None
    assert after.error.message == outcome.events[0].body["reason"]
    assert "partition 2" in after.error.message
    life.ends = {2: 5}
    following = transition(STREAM, before, life.a_block(2, 0, file_ended=False), now=NOW).checkpoint
    assert following.ends == {"1": 8, "2": 7}


def test_a_blockage_of_the_next_cycle_is_told_again() -> None:
    life = Life()
    a_life: list[Input] = [
        INPUTS["due"],
        INPUTS["blocked"],
        INPUTS["retried"],
        INPUTS["blocked"],
        INPUTS["added"],
        INPUTS["ended"],
        INPUTS["due"],
        INPUTS["blocked"],
        INPUTS["refused"],
        INPUTS["looked at"],
        INPUTS["blocked"],
    ]
    for event in a_life:
        life.feed(event)
    assert life.blocked == [1, 2]
