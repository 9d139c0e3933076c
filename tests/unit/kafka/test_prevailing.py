"""Of two checkpoints the later term holds, wherever in the topic the earlier one lies."""

from __future__ import annotations

import pytest

from streamer.core.checkpoint import Checkpoint
from streamer.kafka.checkpoints import Entry, prevailing
from streamer.model import Shard


def entry(term: int, owner: str, cycle: int = 0) -> Entry:
    return Entry(Shard(3), Checkpoint(term=term, owner=owner, cycle=cycle))


def test_the_first_one_holds() -> None:
    assert prevailing(None, entry(1, "a")) == entry(1, "a")


@pytest.mark.parametrize(("term", "owner"), [(5, "a"), (6, "b"), (6, "a"), (70, "b")])
def test_the_next_one_of_the_same_owner_or_of_a_later_term_holds(term: int, owner: str) -> None:
    assert prevailing(entry(5, "a", cycle=9), entry(term, owner)) == entry(term, owner)


@pytest.mark.parametrize(("term", "owner"), [(4, "a"), (4, "b"), (5, "b"), (0, "")])
def test_one_of_an_earlier_term_or_of_another_owner_in_the_same_term_only_buries(term: int, owner: str) -> None:
    held = prevailing(entry(5, "a", cycle=2), entry(term, owner, cycle=1))
    assert held == Entry(Shard(3), Checkpoint(term=5, owner="a", cycle=2), is_buried=True)


def test_what_was_buried_is_no_longer_once_it_is_written_anew() -> None:
    buried = prevailing(entry(5, "a"), entry(4, "b"))
    assert prevailing(buried, entry(5, "a")) == entry(5, "a")


def test_what_is_buried_still_holds_against_others() -> None:
    buried = prevailing(entry(5, "a"), entry(4, "b"))
    assert prevailing(buried, entry(4, "c")) == buried


@pytest.mark.parametrize("known", [entry(5, "a"), Entry(Shard(3), None, "version 2")])
def test_one_that_can_not_be_read_tells_no_term_so_the_last_one_holds(known: Entry) -> None:
    unreadable = Entry(Shard(3), None, "version 7")
    assert prevailing(known, unreadable) == unreadable
    assert prevailing(unreadable, entry(1, "b")) == entry(1, "b")
