"""What was there at the start is out of the garbage collector's sight, and what comes later is not."""

from __future__ import annotations

import gc

from streamer.service.collector import leave_aside_what_lasts


def test_full_passes_leave_out_what_was_there_before() -> None:
    lasting: list[object] = [[]]
    try:
        assert leave_aside_what_lasts() > 10_000
        later: list[object] = [[]]
        seen = {id(found) for found in gc.get_objects()}
        assert id(lasting) not in seen
        assert id(later) in seen
    finally:
        gc.unfreeze()
