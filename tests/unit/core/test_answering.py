"""What is committed with a record that a signal has wanted."""

from __future__ import annotations

from datetime import UTC, datetime

from streamer.core.answering import Place, after_erasure, after_replay
from streamer.core.checkpoint import Checkpoint, Erased
from streamer.core.events import ReplayedLine
from streamer.core.signals import Erase, Replay, SignalRecord, encode_signal
from streamer.model import ConnectionName, EntityType, StreamKey

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STREAM = StreamKey(ConnectionName("alpine"), EntityType.BILL)
REPLAY = SignalRecord(41, str(STREAM), encode_signal(Replay("e1/0/48213", 3, 7)))
ERASE = SignalRecord(41, str(STREAM), encode_signal(Erase("canary")))


def test_the_answer_to_a_replay_tells_where_the_record_is() -> None:
    told = ReplayedLine("e1/0/48213", "mews.bill", 2, 99)
    checkpoint = Checkpoint(ends={"2": 90, "1": 5})
    outcome = after_replay(STREAM, checkpoint, REPLAY, Place(2, 99, 4), told, now=NOW)
    assert outcome.checkpoint == Checkpoint(ends={"2": 100, "1": 5}, partitions=4, next_signal=42)
    (answer,) = outcome.events
    assert (answer.name, answer.body["signal"], answer.body["replayed"]) == ("signal_applied", "replay", told)

    # A topic that was made anew is for the next export to find out, by an offset below the one that is known.
    anew = after_replay(STREAM, Checkpoint(ends={"2": 500}), REPLAY, Place(2, 99, 4), told, now=NOW)
    assert anew.checkpoint.ends == {"2": 500}


def test_the_answer_to_an_erasure_names_nobody() -> None:
    earlier, entry = Erased(NOW, "k", cycle=3), Erased(NOW, "k")
    outcome = after_erasure(STREAM, Checkpoint(erased={"h1": earlier}), ERASE, Place(2, 99, 4), {"h2": entry}, now=NOW)
    assert outcome.checkpoint.erased == {"h1": earlier, "h2": entry}
    assert (outcome.checkpoint.ends, outcome.checkpoint.next_signal) == ({"2": 100}, 42)
    (answer,) = outcome.events
    assert (answer.name, answer.body["signal"]) == ("signal_applied", "erase")
    assert b"canary" not in answer.value()
