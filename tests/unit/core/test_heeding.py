"""What each signal does to a stream in each state, how it is answered, and that nonsense does no harm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from streamer.core.checkpoint import Checkpoint, Completed, WantedSnapshot
from streamer.core.heeding import Remains, heed, heed_unconfigured, writes_in
from streamer.core.signals import (
    NAMES,
    AbandonExport,
    AdoptExport,
    Erase,
    LetTombstonesThrough,
    Pause,
    Replay,
    Resume,
    Retire,
    Retry,
    Signal,
    SignalError,
    SignalRecord,
    SnapshotNow,
    WindowNow,
    calls_away,
    encode_signal,
    parse_signal,
)
from streamer.core.states import (
    Counts,
    FileList,
    Idle,
    Publishing,
    Request,
    Requesting,
    Retired,
    Retiring,
    State,
    Stopped,
    Waiting,
)
from streamer.model import ConnectionName, EntityType, ExportId, ExportKind, StreamKey
from tests.unit.cases import cases

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
STREAM = StreamKey(ConnectionName("alpine"), EntityType.BILL)
LEDGER = StreamKey(ConnectionName("alpine"), EntityType.LEDGER_ENTRY)
ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
REQUEST = Request(cycle=1, kind=ExportKind.SNAPSHOT, requested_at=NOW)
REQUESTING = Requesting(request=REQUEST)
WAITING = Waiting(request=REQUEST, export_id=ExportId("e1"))
PUBLISHING = Publishing(request=REQUEST, export_id=ExportId("e1"), ready_at=NOW, files=FileList(1, 9, "d"))
SNAPSHOT = Completed(ExportId("e0"), NOW, NOW, Counts())
REPLAY = Replay("e1/0/48213", 1, 17)
SIGNALS: tuple[Signal, ...] = (
    SnapshotNow(),
    SnapshotNow(changes_only=False),
    WindowNow(),
    Pause(),
    Resume(),
    AbandonExport(),
    AdoptExport(ID),
    LetTombstonesThrough(),
    Retry(),
    Retire("alpine/Bill"),
    REPLAY,
    Erase("c1"),
)


def stopped(before: Any) -> Stopped:
    return Stopped("no", NOW, NOW + timedelta(hours=1), before)


def heeded(
    signal: Signal | bytes | None, checkpoint: Checkpoint, *, stream: StreamKey = STREAM
) -> tuple[Checkpoint, list[dict[str, Any]]]:
    value = signal if isinstance(signal, bytes | None) else encode_signal(signal)
    outcome = heed(stream, checkpoint, SignalRecord(41, str(stream), value), now=NOW)
    return outcome.checkpoint, [event.body for event in outcome.events]


def rejected(signal: Signal | bytes | None, checkpoint: Checkpoint, *, stream: StreamKey = STREAM) -> str:
    """Why; what is left is that the stream has seen it."""
    after, (answer,) = heeded(signal, checkpoint, stream=stream)
    assert after == msgspec.structs.replace(checkpoint, next_signal=42)
    assert answer["event"] == "signal_rejected"
    return str(answer["reason"])


@cases("signal", SIGNALS)
def test_a_signal_reads_back_as_it_was_written(signal: Signal) -> None:
    assert parse_signal(encode_signal(signal)) == signal
    assert msgspec.json.decode(encode_signal(signal))["signal"] in NAMES


@cases(
    ("signal", "changes"),
    [
        (SnapshotNow(), {"wanted_snapshot": WantedSnapshot()}),
        (SnapshotNow(changes_only=False), {"wanted_snapshot": WantedSnapshot(changes_only=False)}),
        (WindowNow(), {"wanted_window": True}),
        (Pause(), {"paused": True}),
        (Resume(), {"paused": False}),
        (LetTombstonesThrough(), {"let_tombstones_through": True}),
    ],
)
@cases("state", [Idle(), REQUESTING, WAITING, PUBLISHING, stopped(WAITING)])
def test_a_wish_is_left_behind_in_the_checkpoint_whatever_the_stream_does(
    signal: Signal, changes: dict[str, Any], state: State
) -> None:
    checkpoint = Checkpoint(state=state, snapshot=SNAPSHOT, paused=isinstance(signal, Resume))
    after, (answer,) = heeded(signal, checkpoint)
    assert after == msgspec.structs.replace(checkpoint, next_signal=42, **changes)
    assert answer == {
        "event": "signal_applied",
        "connection": "alpine",
        "entity_type": EntityType.BILL,
        "export_id": None,
        "kind": None,
        "window": None,
        "at": NOW,
        "signal": msgspec.json.decode(encode_signal(signal))["signal"],
        "offset": 41,
        "key": "alpine/Bill",
    }


def test_everything_anew_wins_over_changes_only() -> None:
    anew = Checkpoint(wanted_snapshot=WantedSnapshot(changes_only=False))
    assert heeded(SnapshotNow(), anew)[0].wanted_snapshot == WantedSnapshot(changes_only=False)


@cases("state", [WAITING, PUBLISHING, stopped(WAITING), stopped(PUBLISHING)])
def test_an_export_is_abandoned_and_told_to_have_failed(state: State) -> None:
    after, events = heeded(AbandonExport(), Checkpoint(state=state, failures=1))
    assert after.state == Idle()
    assert after.failures == 1
    assert [event["event"] for event in events] == ["export_failed", "signal_applied"]
    assert (events[0]["export_id"], events[0]["reason"]) == ("e1", "abandoned by a signal")


@cases("state", [REQUESTING, stopped(REQUESTING)])
def test_an_export_is_adopted_by_a_stream_that_waits_to_be_accepted(state: State) -> None:
    after, events = heeded(AdoptExport(ID), Checkpoint(state=state))
    adopted = msgspec.structs.replace(REQUEST, adopted=True)
    assert after.state == Waiting(request=adopted, export_id=ExportId(ID))
    assert [event["event"] for event in events] == ["export_requested", "signal_applied"]


@cases("before", [Idle(), REQUESTING, WAITING, PUBLISHING])
def test_a_stopped_stream_tries_again_where_it_was(before: State) -> None:
    assert heeded(Retry(), Checkpoint(state=stopped(before)))[0].state == before


def test_a_signal_that_does_not_suit_the_stream_is_rejected_and_changes_nothing() -> None:
    assert "not stopped" in rejected(Retry(), Checkpoint(state=WAITING))
    assert "not waiting for Mews" in rejected(AdoptExport(ID), Checkpoint(state=WAITING))
    assert "not waiting for Mews" in rejected(AdoptExport(ID), Checkpoint())
    assert "no export is under way" in rejected(AbandonExport(), Checkpoint())
    assert "has not accepted" in rejected(AbandonExport(), Checkpoint(state=REQUESTING))
    assert "after the first snapshot" in rejected(WindowNow(), Checkpoint())
    assert "still configured" in rejected(Retire("alpine/Bill"), Checkpoint())
    assert "name one stream" in rejected(REPLAY, Checkpoint())
    assert "being published" in rejected(REPLAY, Checkpoint(state=PUBLISHING))
    assert "name one stream" in rejected(Erase("c1"), Checkpoint())


@cases("signal", [REPLAY, Erase("c1")])
def test_a_record_is_written_for_its_own_stream_and_not_amid_an_export(signal: Signal) -> None:
    record = SignalRecord(0, str(STREAM), encode_signal(signal))
    resting: list[State] = [Idle(), REQUESTING, WAITING, stopped(WAITING)]
    amid: list[State] = [PUBLISHING, stopped(PUBLISHING)]
    assert [writes_in(Checkpoint(state=state), record) for state in resting] == [signal] * len(resting)
    assert [writes_in(Checkpoint(state=state), record) for state in amid] == [None] * len(amid)
    assert writes_in(Checkpoint(), SignalRecord(0, "*", encode_signal(signal))) is None
    assert writes_in(Checkpoint(), SignalRecord(0, str(STREAM), encode_signal(Pause()))) is None
    assert writes_in(Checkpoint(), SignalRecord(0, str(STREAM), b"{")) is None


REMAINS = Remains("mews.bill", shared_keys=False, tellable=True)
RETIRE = Retire("alpine/Bill")


@cases("state", [Idle(), REQUESTING, PUBLISHING, stopped(WAITING), Retired(NOW)])
def test_a_stream_without_settings_retires_in_whatever_state_it_was_left(state: State) -> None:
    record = SignalRecord(41, "alpine/Bill", encode_signal(RETIRE))
    outcome = heed_unconfigured(STREAM, Checkpoint(state=state, paused=True), record, REMAINS, now=NOW)
    assert outcome.checkpoint == Checkpoint(state=Retiring(41, NOW, "mews.bill"), next_signal=42)
    assert outcome.events[-1].name == "signal_applied"


@cases(
    ("signal", "state", "remains", "reason"),
    [
        (Pause(), Idle(), REMAINS, "no such stream"),
        (Retry(), Retired(NOW), REMAINS, "no such stream"),
        (b"retire", Idle(), REMAINS, "expected a JSON object"),
        (Retire("alpine/Bills"), Idle(), REMAINS, "repeat the key"),
        (RETIRE, Retiring(17, NOW, "mews.bill"), REMAINS, "already"),
        (RETIRE, Idle(), Remains("mews.bill", shared_keys=False, tellable=False), "no headers"),
        (RETIRE, Idle(), Remains("mews.bill", shared_keys=True, tellable=True), '"shared_keys": false'),
    ],
)
def test_what_can_not_be_done_with_a_stream_without_settings_is_rejected(
    signal: Signal | bytes, state: State, remains: Remains, reason: str
) -> None:
    record = SignalRecord(41, "alpine/Bill", signal if isinstance(signal, bytes) else encode_signal(signal))
    outcome = heed_unconfigured(STREAM, Checkpoint(state=state), record, remains, now=NOW)
    assert outcome.checkpoint == Checkpoint(state=state, next_signal=42)
    (answer,) = outcome.events
    assert answer.name == "signal_rejected"
    assert reason in answer.body["reason"]


def test_a_person_may_know_that_nobody_else_has_the_keys() -> None:
    record = SignalRecord(41, "alpine/Bill", encode_signal(Retire("alpine/Bill", shared_keys=False)))
    shared = Remains("mews.bill", shared_keys=True, tellable=True)
    assert heed_unconfigured(STREAM, Checkpoint(), record, shared, now=NOW).checkpoint.phase == "retiring"


def test_of_a_ledger_there_are_no_snapshots_but_windows_from_the_beginning() -> None:
    assert "no snapshots of LedgerEntry" in rejected(SnapshotNow(), Checkpoint(), stream=LEDGER)
    assert "no snapshots of LedgerEntry" in rejected(LetTombstonesThrough(), Checkpoint(), stream=LEDGER)
    assert heeded(WindowNow(), Checkpoint(), stream=LEDGER)[0].wanted_window


@cases(
    "value",
    [
        None,
        b"",
        b"pause",
        b"[]",
        b'"pause"',
        b'{"signal": "explode"}',
        b'{"signal": null}',
        b'{"signal": ["pause"]}',
        b'{"Signal": "pause"}',
        b'{"signal": "pause", "for": "1h"}',
        b'{"signal": "snapshot_now", "changes_only": "no"}',
        b'{"signal": "adopt_export"}',
        b'{"signal": "adopt_export", "export_id": "../../canary"}',
        b'{"signal": "pause"} trailing',
        b'{"signal": "\xff"}',
        b"[" * 900,
    ],
)
def test_nonsense_is_answered_with_a_reason_that_repeats_none_of_it(value: bytes | None) -> None:
    reason = rejected(value, Checkpoint(state=WAITING))
    assert "canary" not in reason
    assert "explode" not in reason
    with pytest.raises(SignalError):
        parse_signal(value)


@cases(
    ("key", "mine"), [("*", True), ("alpine/Bill", True), ("alpine/Reservation", False), ("", False), ("al*", False)]
)
def test_a_signal_is_for_the_stream_of_its_key_or_for_all(key: str, mine: bool) -> None:
    assert SignalRecord(0, key, None).is_for(str(STREAM)) is mine


def test_only_pause_and_abandon_call_a_stream_away_from_what_it_publishes() -> None:
    called = {type(s) for s in SIGNALS if calls_away(SignalRecord(0, "*", encode_signal(s)))}
    assert called == {Pause, AbandonExport}
    assert not calls_away(SignalRecord(0, "*", None))
