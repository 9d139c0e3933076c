"""What the logs say, and that no secret is ever in them, whichever way it came."""

from __future__ import annotations

import base64
import functools
import html
import io
import itertools
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog

from streamer.logs import Scrubber, configure_logs, scrub
from streamer.model import Secret
from tests.unit.cases import cases

TOKEN = 'E0D439EE522F44368DC78E1BFB03710C-D24FB11DBE31D4621C4817E028D9E1D canary+/"\\é&ü'
PASSWORD = "canary-short"
SECRETS = (Secret(TOKEN), Secret(PASSWORD), Secret(PASSWORD + "-and-more"))
LINK = "https://blobs.example.com/exports/part-0001.jsonl?sv=2024&sp=r&sig=canary%2Fsignature%3D"


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


@contextmanager
def logs_to(stream: io.StringIO) -> Iterator[None]:
    level = logging.getLogger().level
    configure_logs(level="debug", secrets=SECRETS, stream=stream)
    try:
        yield
    finally:
        forget(stream)
        logging.getLogger().setLevel(level)
        logging.captureWarnings(False)
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()


@pytest.fixture(params=[io.StringIO, Terminal], ids=["json", "pretty"])
def stream(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    stream: io.StringIO = request.param()
    with logs_to(stream):
        yield stream


def handlers_to(stream: io.StringIO) -> list[logging.Handler]:
    return [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler) and h.stream is stream]


def forget(stream: io.StringIO) -> None:
    for handler in handlers_to(stream):
        logging.getLogger().removeHandler(handler)


class Careless:
    """Shows what it holds, as objects of libraries do."""

    def __init__(self, held: object) -> None:
        self.held = held

    def __repr__(self) -> str:
        return f"<Careless held={self.held!r}>"


def broken(held: object) -> None:
    try:
        raise ValueError(f"inner {held}")
    except ValueError as error:
        raise RuntimeError("outer", {"held": held}) from error


Escape = Callable[[str], str]
ESCAPES: list[Escape] = [
    str,
    repr,
    ascii,
    json.dumps,
    functools.partial(json.dumps, ensure_ascii=False),
    quote,
    functools.partial(quote, safe=""),
    quote_plus,
    html.escape,
    lambda text: repr(text.encode()),
]
HOLDERS = [
    lambda secret: secret,
    lambda secret: f"before {secret} after",
    lambda secret: {"deep": [{"er": (secret,)}], secret: 1},
    lambda secret: {secret},
    lambda secret: secret.encode(),
    lambda secret: Careless(secret),
    lambda secret: {"x": Careless([secret])},
    lambda secret: json.dumps({"AccessToken": secret}),
    lambda secret: json.dumps(json.dumps({"AccessToken": secret})),
    lambda secret: f"https://example.com/{quote(secret, safe='')}/x",
    lambda secret: base64.b64encode(f"user:{secret}".encode()),
    lambda secret: base64.urlsafe_b64encode(f"\0us\0{secret}".encode()).decode(),
    lambda secret: RuntimeError(secret),
]


@cases("kind", [io.StringIO, Terminal])
@cases("hold", HOLDERS)
@cases("secret", [TOKEN, PASSWORD, PASSWORD + "-and-more", LINK])
def test_no_secret_comes_out_of_any_logger(kind: type[io.StringIO], hold: Any, secret: str) -> None:
    held = hold(secret)
    stream = kind()
    with logs_to(stream):
        ours = structlog.get_logger("streamer.test")
        structlog.contextvars.bind_contextvars(bound=held)
        ours.debug(str(held), value=held)
        for name in ("aiokafka.conn", "anything"):
            theirs = logging.getLogger(name)
            theirs.debug("sent %s and %r", held, held, extra={"more": held})
            theirs.info(held)
        try:
            broken(held)
        except RuntimeError:
            ours.exception("it_broke")
            logging.getLogger("asyncio").exception("it broke with %s", held)
    text = stream.getvalue()
    assert text.count("it_broke") == 1
    assert "RuntimeError" in text
    for leak in leaks(secret):
        assert leak not in text


def leaks(secret: str) -> list[str]:
    """Pieces that would betray the secret, in the forms that the holders above give it."""
    if secret == LINK:
        return ["sig=canary", "signature%3D", "sv=2024"]
    pieces = [secret[:20], secret[-10:], quote(secret, safe="")[:20], json.dumps(secret)[1:15]]
    for before in ("user:", "\0us\0"):
        # Signs 4 to 12 from the secret's start on are wholly its own, whichever step it falls into.
        encoded = base64.b64encode((before + secret).encode()).decode()
        pieces.append(encoded[8:16])
    return pieces


@cases(
    ("text", "scrubbed"),
    [
        ("GET https://a.b/c?x=1&y=2 gone", "GET https://a.b/c?*** gone"),
        ("URL('https://a.b/c?x=1'), next", "URL('https://a.b/c?***'), next"),
        ("{'u': 'https://a.b/c?x=1', 'n': 2}", "{'u': 'https://a.b/c?***', 'n': 2}"),
        ("https://a.b/c?d='x'&sig=y z", "https://a.b/c?*** z"),
        ('{"u": "https://a.b/c?x=1", "n": 2}', '{"u": "https://a.b/c?***", "n": 2}'),
        ('"{\\"u\\": \\"https://a.b/c?x=1\\"}"', '"{\\"u\\": \\"https://a.b/c?***\\"}"'),
        ('"https://a.b/c?x=1\\u0026sig=2"', '"https://a.b/c?***"'),
        ("https://a.b/c?***&sig=x", "https://a.b/c?***"),
        ("https://a.b/c? what?", "https://a.b/c?*** what?"),
        ("/c.jsonl?sv=1&sig=abc%3D&sp=r", "/c.jsonl?sv=1&sig=***&sp=r"),
        ("/c?X-Amz-Signature=abc&X-Amz-Credential=def", "/c?X-Amz-Signature=***&X-Amz-Credential=***"),
        ("is it? yes, design=good", "is it? yes, design=good"),
        ("https://a.b/c", "https://a.b/c"),
        ("\x1b[1mhttps://a.b/c?x=1\x1b[0m", "\x1b[1mhttps://a.b/c?***\x1b[0m"),
    ],
)
def test_the_query_of_a_url_is_cut_off_and_nothing_else(text: str, scrubbed: str) -> None:
    scrubber = Scrubber()
    assert scrubber(text) == scrubbed
    assert scrubber(scrubbed) == scrubbed


@cases("token", [TOKEN, "+/E0D439EE/+=", "'E0D439EE-canary'"])
def test_a_secret_is_found_however_often_it_was_escaped(token: str) -> None:
    scrubber = Scrubber([Secret(token)])
    for escapes in itertools.product(ESCAPES, repeat=3):
        text = f"<{token}> and so on"
        for escape in escapes:
            text = escape(text)
        scrubbed = scrubber(text)
        assert scrubbed.count("***") == 1, text
        assert "E0D4" not in scrubbed
        assert "canary" not in scrubbed


@cases("secret", ["a", "@@##", "pass", "é!é"])
@cases("escape", [str, json.dumps, repr, quote, html.escape])
def test_a_secret_of_few_letters_is_found_too(secret: str, escape: Escape) -> None:
    assert Scrubber([Secret(secret)])(f"[{escape(secret)}]").strip("[]\"'") == "***"
    assert Scrubber([Secret("")])("text") == "text"


def test_scrub_serves_other_places_with_the_same_secrets(stream: io.StringIO) -> None:
    assert scrub(f"Mews said: {TOKEN} is wrong") == "Mews said: *** is wrong"
    assert scrub(PASSWORD + "-and-more") == "***"


def test_a_line_of_json_has_time_level_logger_and_values() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    structlog.get_logger("streamer.test").info("export_completed", records=3, stream="alpine/Bill")
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "export_completed",
        "records": 3,
        "stream": "alpine/Bill",
        "level": "info",
        "logger": "streamer.test",
    }


@cases("value", ['"', "\\", "\n", "é", LINK + '"', {"k": {1, 2}}, object(), float("inf")])
def test_every_line_of_json_can_be_read_again(value: object) -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    structlog.get_logger("streamer.test").info("event", value=value)
    logging.getLogger("x").warning("%s", value)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all(json.loads(line)["level"] for line in lines)


def test_a_traceback_stays_readable_behind_a_link() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    try:
        raise ValueError(f"no answer from {LINK}\nafter 3 s")
    except ValueError:
        structlog.get_logger("streamer.test").exception("failed")
    assert json.loads(stream.getvalue())["exception"].endswith("part-0001.jsonl?***\nafter 3 s")


def test_libraries_are_heard_from_warning_on_unless_at_debug() -> None:
    stream = io.StringIO()
    configure_logs(level="info", stream=stream)
    logging.getLogger("aiokafka.consumer").info("heartbeat")
    structlog.get_logger("streamer.test").debug("detail")
    assert stream.getvalue() == ""
    logging.getLogger("aiokafka.consumer").warning("lost")
    assert "lost" in stream.getvalue()


def test_a_line_that_cannot_be_rendered_does_not_show_its_arguments(stream: io.StringIO) -> None:
    # Straight to the handler: those of pytest have opinions of their own about such a line.
    (handler,) = handlers_to(stream)
    handler.handle(logging.LogRecord("aiohttp", logging.ERROR, "", 1, "%d items", (PASSWORD,), None))
    assert "the logger aiohttp can't be written: TypeError" in stream.getvalue()
    assert PASSWORD not in stream.getvalue()


def test_warnings_go_the_same_way(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"deprecated: {TOKEN}", DeprecationWarning, stacklevel=1)
    assert "deprecated: ***" in stream.getvalue()


def test_configuring_again_takes_the_place_of_what_was() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logs(stream=first)
    configure_logs(stream=second)
    structlog.get_logger("streamer.test").info("event")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_logs_go_to_stderr_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    structlog.get_logger("streamer.test").info("event")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "event"
    assert sys.stderr is not None
