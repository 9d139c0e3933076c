"""A replayed line overtakes nothing."""

from __future__ import annotations

from streamer.core.replaying import Said, why_too_late
from tests.unit.cases import cases

CE_ID = "e1/0/48213"
LETTER_AT = 1_000
EARLIER, LATER = 999, 1_000


def line(updated: str | None, text: str = "") -> bytes:
    moment = f'"{updated}"' if updated else "null"
    return f'{{"Id":"b1","UpdatedUtc":{moment},"Text":"{text}"}}'.encode()


MARCH_1, MARCH_2 = "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"


@cases(
    ("ours", "said", "why"),
    [
        (line(MARCH_1), None, ""),
        (line(MARCH_2), Said(line(MARCH_1), LATER, frozenset()), ""),
        (line(MARCH_2), Said(line(MARCH_1), LATER, frozenset({"e0/0/0", CE_ID})), "it was replayed before"),
        (line(MARCH_1), Said(line(MARCH_1), EARLIER, frozenset()), "the topic says the same already"),
        (line(MARCH_1), Said(line(MARCH_2), EARLIER, frozenset()), "the topic has a newer version of this entity"),
        # Where both are of the same moment, or one says none, the order of writing decides.
        (line(MARCH_1), Said(line(MARCH_1, "x"), EARLIER, frozenset()), ""),
        (line(MARCH_1), Said(line(MARCH_1, "x"), LATER, frozenset()), "the topic has a later record of this entity"),
        (line(None), Said(line(MARCH_1), EARLIER, frozenset()), ""),
        (line(MARCH_1), Said(line(None), LATER, frozenset()), "the topic has a later record of this entity"),
        # Gone before the letter was written: it is there again. Gone since: it stays so.
        (line(MARCH_1), Said(None, EARLIER, frozenset()), ""),
        (line(MARCH_1), Said(None, LATER, frozenset()), "the topic has a later record of this entity"),
    ],
)
def test_an_old_line_overtakes_nothing(ours: bytes, said: Said | None, why: str) -> None:
    assert why_too_late(CE_ID, ours, LETTER_AT, said) == why
