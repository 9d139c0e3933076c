"""What Mews and its file host do wrong all the time, each thing with its own probability; and the lines that they send.

The simulator throws the dice, with the seed of the run. Nothing here stops a stream until a person looks (401 of the
API, a redirect to another scheme): that would end the run for it. Those have tests of their own.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

from streamer.sandbox import faults
from streamer.sandbox.faults import Action, FaultRule, FaultState, snake

CLIENT_TOKEN = "Client7Canary0-" + "5E9C01D7AB34F286"
ACCESS_TOKEN = "Access3Canary1-" + "C66EF7B239D24632943D-EA00F8FD8294692C940F6B5A8F9453D"
LINK_CANARY = "Link9Canary4" + "QmFzZTY0U2lnbmF0dXJl"
TOKENS = f"{CLIENT_TOKEN} {ACCESS_TOKEN} https://blobs.example/1.jsonl?sig={LINK_CANARY}"
"""Repeated in messages of errors, so that there is something to leak."""

HOLDS = (faults.Hold,)
"""What the aimed strikes use; no fault."""


def weather(seed: int, file_bytes: int) -> list[FaultRule]:
    """Rules for the whole run. ``file_bytes`` is about the size of a file, in which faults strike somewhere."""
    dice = random.Random(f"{seed}/weather")

    def somewhere() -> int:
        return int(dice.uniform(0.02, 0.98) * file_bytes)

    on_add: list[tuple[float, Action]] = [
        (0.02, faults.Lost()),
        (0.01, faults.Reset()),
        (0.015, faults.Status(code=500, message=TOKENS)),
        (0.01, faults.Status(code=503, body="html", message=TOKENS)),
        (0.01, faults.Status(code=200, body="html", message=TOKENS)),
        (0.01, faults.Status(code=408, body="empty")),
        (0.01, faults.Status(code=429, retry_after=1)),
        (0.01, faults.Status(code=429, retry_after=1, retry_after_date=True)),
        (0.015, faults.Status(code=400, message=f"An export is already running. {TOKENS}")),
        (0.01, faults.Status(code=400, message=f"Something else. {TOKENS}")),
        (0.01, faults.NoContent()),
        (0.08, faults.ExtraFields()),
        (0.08, faults.EarlyFiles()),
        (0.02, faults.UnknownStatus(status=f"Odd {TOKENS}")),
    ]
    on_get_all: list[tuple[float, Action]] = [
        (0.01, faults.Lost()),
        (0.01, faults.Reset()),
        (0.01, faults.Status(code=500, message=TOKENS)),
        (0.01, faults.Status(code=503, body="html", message=TOKENS)),
        (0.01, faults.Status(code=200, body="html", message=TOKENS)),
        (0.01, faults.Status(code=429, retry_after=1)),
        (0.01, faults.NoContent()),
        (0.08, faults.ExtraFields()),
        (0.02, faults.UnknownStatus(status=f"Odd {TOKENS}")),
        (0.05, faults.UnknownEntityType()),
        (0.004, faults.SizeMismatch(by=dice.choice([-7, 7]))),
        (0.004, faults.MoreFiles()),
        (0.004, faults.FewerFiles()),
        (0.004, faults.ChangedFiles()),
        (0.004, faults.FailExport()),
        (0.004, faults.ExpireExport()),
    ]
    on_file: list[tuple[float, Action]] = [
        *((0.03, faults.Cut(at_byte=somewhere())) for _ in range(3)),
        (0.005, faults.Cut(at_byte=0)),
        *((0.01, faults.Short(at_byte=somewhere(), chunked=chunked)) for chunked in (False, True)),
        (0.015, faults.Stall(at_byte=somewhere())),
        (0.005, faults.Stall()),
        (0.02, faults.Drip(bytes_per_second=file_bytes / 4)),
        (0.08, faults.Gzip()),
        (0.1, faults.IgnoreRange()),
        (0.1, faults.WrongContentRange(by=7)),
        (0.08, faults.NoEtag()),
        (0.01, faults.ChangedEtag()),
        (0.05, faults.Redirect()),
        (0.03, faults.LinkExpired()),
        (0.01, faults.Status(code=404, body="html", message=TOKENS)),
        (0.01, faults.Status(code=500, message=TOKENS)),
        (0.01, faults.Status(code=503, body="html", message=TOKENS)),
        (0.01, faults.Status(code=429, retry_after=1)),
        (0.01, faults.NoContent()),
        (0.01, faults.Reset()),
        (0.01, faults.Lost()),
        (0.004, faults.FailExport(at_byte=somewhere())),
        (0.004, faults.ExpireExport(at_byte=somewhere())),
    ]
    return [
        *(FaultRule(on="add", action=action, probability=chance, times=None) for chance, action in on_add),
        *(FaultRule(on="get_all", action=action, probability=chance, times=None) for chance, action in on_get_all),
        *(FaultRule(on="file", action=action, probability=chance, times=None) for chance, action in on_file),
    ]


def struck(states: Iterable[FaultState]) -> Counter[str]:
    """How often each kind of fault has struck, as ``file cut``."""
    found: Counter[str] = Counter()
    for state in states:
        action = state.rule.action
        if isinstance(action, HOLDS) or not state.struck:
            continue
        kind = f"{action.code} {action.body}" if isinstance(action, faults.Status) else snake(type(action).__name__)
        found[f"{state.rule.on} {kind.replace('_', ' ').removesuffix(' json')}"] += state.struck
    return found


def untidy_files(seed: int, lines: int) -> Sequence[bytes]:
    """Three files with all that is odd but allowed, and with lines that can only become dead letters."""
    dice = random.Random(f"{seed}/untidy")
    text = "\u2028 \\u2028 é 🏨 "
    made = [
        b'{"Id":"%d","UpdatedUtc":"2026-01-01T00:00:00Z","Text":"%s"}' % (n, (text * dice.randint(1, 12)).encode())
        for n in range(lines)
    ]
    odd = [b"", b"  ", b'{"Name":"no id"}', b'{"Id":null}', b"{broken", b'{"Id":"\xff"}', b"[" * 3000, b'{"Id":7}']
    for line in odd * 4:
        made.insert(dice.randrange(len(made)), line)
    third = len(made) // 3
    return [
        b"\xef\xbb\xbf" + b"\r\n".join(made[:third]) + b"\r\n",
        b"\n".join(made[third : 2 * third]) + b"\n",
        b"\n".join(made[2 * third :]),
    ]
