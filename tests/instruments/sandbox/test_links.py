from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import yarl

from streamer.sandbox.links import Links
from tests.unit.cases import cases

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIFETIME = timedelta(minutes=10)
LINKS = Links(b"key")
TARGET = LINKS.target("a-0.jsonl", NOW, LIFETIME)


def test_a_link_is_accepted_as_it_was_handed_out() -> None:
    assert LINKS.accepts(TARGET, NOW)


def test_every_link_is_another_and_needs_its_escapes() -> None:
    targets = {LINKS.target("a-0.jsonl", NOW, LIFETIME) for _ in range(50)}
    assert len(targets) == 50
    for target in targets:
        assert {"%2B", "%2F", "%3D"} <= {target[n : n + 3] for n in range(len(target))}


def test_a_link_ends_with_its_time() -> None:
    assert LINKS.accepts(TARGET, NOW + LIFETIME - timedelta(milliseconds=1))
    assert not LINKS.accepts(TARGET, NOW + LIFETIME)


@cases(
    "altered",
    [
        unquote(TARGET),
        str(yarl.URL(f"http://host{TARGET}").relative()),
        TARGET.replace("%2B", "%2b"),
        TARGET.replace("a-0", "a-1"),
        TARGET + "&more=1",
        TARGET.partition("?")[0],
        TARGET.replace("&n=", "&n=0"),
        "/files/x?sig=1&exp=never&n=1",
        "/files/x?sig=1&exp=2026-05-01T12:05:00&n=1",
    ],
)
def test_an_altered_link_is_refused(altered: str) -> None:
    assert not LINKS.accepts(altered, NOW)


def test_a_link_of_another_server_is_refused() -> None:
    assert not LINKS.accepts(Links(b"other").target("a-0.jsonl", NOW, LIFETIME), NOW)
