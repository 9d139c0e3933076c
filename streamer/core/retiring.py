"""How a stream retires that no settings have any more: all its entities get tombstones.

Should settings have it again, it begins anew.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from streamer.core.advancing import ends_with, plus
from streamer.core.checkpoint import Checkpoint
from streamer.core.ending import after_abandonment
from streamer.core.events import Outcome, retired_event
from streamer.core.inputs import Abandoned, Entombed, TakenOut
from streamer.core.states import Idle, Publishing, Reconciling, Retired, Retiring, Waiting
from streamer.model import StreamKey


def retirement_id(signal: int) -> str:
    """What stands in ``ce_id`` where an export's id does otherwise, for the tombstones that this signal led to."""
    return f"retire-{signal}"


def after_taking_out(stream: StreamKey, checkpoint: Checkpoint, event: TakenOut, *, now: datetime) -> Outcome:
    """What was under way is given up, and what the stream knew of its exports is forgotten with them."""
    given_up = Outcome(checkpoint)
    if isinstance(checkpoint.state, Waiting | Publishing | Reconciling):
        reason = Abandoned("the stream is being retired")
        given_up = after_abandonment(stream, checkpoint, checkpoint.state, reason, now=now)
    retiring = Retiring(signal=event.signal, begun_at=now, topic=event.topic)
    return Outcome(_forgotten(given_up.checkpoint).moved_to(retiring), given_up.events)


def after_entombing(
    stream: StreamKey, checkpoint: Checkpoint, state: Retiring, event: Entombed, *, now: datetime
) -> Outcome:
    """A block more of the tombstones; with the last one, the stream is retired."""
    done = msgspec.structs.replace(state, partitions=plus(state.partitions, event.partitions))
    ends = ends_with(checkpoint, event.partitions)
    if not event.last:
        return Outcome(checkpoint.moved_to(done, ends=ends))
    return Outcome(checkpoint.moved_to(Retired(at=now), ends=ends), (retired_event(stream, done, now=now),))


def begun_anew(checkpoint: Checkpoint) -> Outcome:
    """Settings have the stream again, perhaps before all its entities had their tombstones."""
    return Outcome(_forgotten(checkpoint).moved_to(Idle()))


def _forgotten(checkpoint: Checkpoint) -> Checkpoint:
    """Without what follows from the exports that were, but for the places of the topic's partitions and the count of
    them: a key has to stay in the partition in which its tombstone lies.
    """
    return msgspec.structs.replace(
        checkpoint,
        failures=0,
        snapshot=None,
        window=None,
        error=None,
        covered_to=None,
        window_span=None,
        window_failures=0,
        filters_refused_at=None,
        paused=False,
        let_tombstones_through=False,
        wanted_snapshot=None,
        wanted_window=False,
    )
