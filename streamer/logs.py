"""Logs on stderr: JSON for machines, readable lines on a terminal, and never a secret in either.

Everything goes through one handler of the standard library: aiokafka, aiohttp and asyncio are rendered, and
scrubbed, like our own lines. The scrubber works on the finished text: whatever path a token took into it
(an argument, a nested value, a ``repr``, a traceback), it doesn't come out.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor

from streamer.model import Secret
from streamer.repeated_logs import RepeatedMessages

LEVELS = ("debug", "info", "warning", "error")

_HIDDEN = "***"
# Where an export's files lie, the query is the permission to read them. It ends at white space or a double
# quote. A single quote may be part of it, unless it closes what went before; a backslash begins an escape of
# JSON or `repr`, and an escape character the colours of a terminal. Too much may be cut off, too little never.
_QUERY = re.compile(
    r"""(?P<address>://[^\s"'<>?\\]+)\?(?!\*\*\*(?:[\s"'<>\\\x1b]|$))"""
    r"""(?:[^\s"'<>\\\x1b]|'(?![)\]},>:;.]*(?:[\s,"\\\x1b]|$))|\\+[^\s"'<>\\])*"""
)
# The same permission where only a part of the URL is told.
_SIGNATURE = re.compile(
    r"""(?P<name>(?<![a-z])sig|(?:x-(?:amz|goog)-)?(?:signature|credential|security-token))=[^&\s"'<>\\\x1b]+""",
    re.IGNORECASE,
)
# With fewer letters and digits than this, a pattern made of them would find itself in ordinary text.
_ENOUGH = 6
# Tokens of an hour or less: those before have ended, and a pattern for each would slow every line down.
_PASSING = 4
# Their INFO tells every heartbeat and every request; of interest to whoever looks for an error, at DEBUG.
_TALKATIVE = ("aiohttp", "aiokafka", "asyncio")


class Scrubber:
    """Takes secrets, in every form they are likely to be written in, and the queries of URLs out of text."""

    def __init__(self, secrets: Iterable[Secret] = (), *, passing: Iterable[Secret] = ()) -> None:
        self.known = tuple(secrets)
        self.passing = tuple(passing)
        # Longest first: a secret that begins with another one must not be left with its end showing.
        known = sorted({secret.reveal() for secret in (*self.known, *self.passing)} - {""}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(_pattern, known))) if known else None

    def __call__(self, text: str) -> str:
        """The text with ``***`` for each secret."""
        if self._secrets is not None:
            text = self._secrets.sub(_HIDDEN, text)
        if "=" in text or "?" in text:
            text = _QUERY.sub(rf"\g<address>?{_HIDDEN}", text)
            text = _SIGNATURE.sub(rf"\g<name>={_HIDDEN}", text)
        return text


_scrubber = Scrubber()


def scrub(text: str) -> str:
    """``text`` without secrets, for places that are no log: a checkpoint's last error, a page, stderr."""
    return _scrubber(text)


def hide(*secrets: Secret) -> None:
    """Hide these from now on too. Those that they replace stay hidden: others may still repeat them."""
    global _scrubber
    _scrubber = Scrubber((*_scrubber.known, *secrets), passing=_scrubber.passing)


def hide_for_a_while(secret: Secret) -> None:
    """Hide a short-lived one: until a few more have come."""
    global _scrubber
    _scrubber = Scrubber(_scrubber.known, passing=(*_scrubber.passing, secret)[-_PASSING:])


def configure_logs(*, level: str = "info", secrets: Iterable[Secret] = (), stream: TextIO | None = None) -> None:
    """Sends all logs to ``stream`` (stderr), without the secrets; may be called again, the last call holds.

    ``level`` is one of ``LEVELS``. Below ``debug``, libraries are heard from ``warning`` on.
    """
    # One process, one set of secrets; `scrub` is needed in places that nobody hands it to.
    global _scrubber
    _scrubber = Scrubber(secrets)
    stream = sys.stderr if stream is None else stream
    number = logging.getLevelNamesMapping()[level.upper()]

    handler = _Handler(stream)
    handler.setFormatter(_formatter(pretty=stream.isatty()))
    if number > logging.DEBUG:
        handler.addFilter(_LibrariesOnly(RepeatedMessages()))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _Handler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(number if number <= logging.DEBUG else max(number, logging.WARNING))
    logging.captureWarnings(True)

    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Loggers are made when modules are imported, before the level is known.
        cache_logger_on_first_use=False,
    )


class _LibrariesOnly(logging.Filter):
    """Another filter, for libraries: what this program says itself is said on purpose, also twice.

    And no error of theirs is one: aiokafka calls so what it goes on to try again by itself, such as a partition whose
    new leader is not known yet. What comes of it in the end is told by this program.
    """

    def __init__(self, inner: logging.Filter) -> None:
        super().__init__()
        self._inner = inner

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_TALKATIVE):
            return True
        if record.name.startswith("aiokafka") and record.levelno == logging.ERROR:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return bool(self._inner.filter(record))


class _Handler(logging.StreamHandler[TextIO]):
    """Hides secrets in the finished text, whatever rendered it."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is the library's)
        # The library would print the record with its arguments past the scrubber.
        error = sys.exc_info()[0]
        reason = error.__name__ if error is not None else "unknown"
        try:
            self.stream.write(f"a line of the logger {record.name} can't be written: {reason}\n")
        except (OSError, ValueError):
            return


def _formatter(*, pretty: bool) -> logging.Formatter:
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if pretty:
        # Not rich's traceback: it shows local variables and breaks lines, and half a secret can't be found.
        last.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    else:
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(), structlog.stdlib.ExtraAdder()], processors=last
    )


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _to_json(event: EventDict, **_: Any) -> str:
    """One line of JSON, scrubbed before it is escaped as well: a query ends more surely in plain text."""
    return json.dumps(_scrubbed(event), ensure_ascii=False)


def _scrubbed(value: object) -> object:
    match value:
        case str():
            return scrub(value)
        case bool() | int() | float() | None:
            return value
        case dict():
            return {scrub(str(key)): _scrubbed(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_scrubbed(item) for item in value]
        case _:
            return scrub(repr(value))


def _pattern(secret: str) -> str:
    """A regular expression for a secret in text that went through JSON, ``repr``, a URL, HTML, or Basic login."""
    as_json = json.dumps(secret)[1:-1]
    forms = [secret, as_json, quote(secret), quote(secret, safe=""), repr(secret)[1:-1], html.escape(secret)]
    tolerant = [_tolerant(secret)]
    size = len(secret.encode())
    for before in range(3):
        # Base64 of `user:secret` and the like: three bytes become four signs, so there are three ways to fall
        # into step. Only the signs that the secret alone decides are looked for.
        encoded = base64.b64encode(b"\0" * before + secret.encode()).decode()
        inner = encoded[-(-before * 8 // 6) : (before + size) * 8 // 6]
        tolerant += [_tolerant(inner), _tolerant(inner.replace("+", "-").replace("/", "_"))]
    return "|".join([*filter(None, tolerant), *map(re.escape, sorted(forms, key=len, reverse=True))])


def _tolerant(secret: str) -> str:
    """Finds a secret by what no escaping touches, its letters and digits, with any escapes for the rest.

    Escapes pile up (JSON in a ``repr`` in JSON), too many ways to list. Empty where too little is left to go by.
    """
    parts = re.split(r"([^A-Za-z0-9]+)", secret)
    if len("".join(parts[::2])) < _ENOUGH:
        return ""
    for i in range(1, len(parts), 2):
        rest = re.escape(parts[i])
        escapes = rf"[\\%&+{rest}][\w\\%&+;#{rest}]{{0,{40 * len(parts[i])}}}"
        last = i == len(parts) - 2 and not parts[-1]
        first = i == 1 and not parts[0]
        # At the end as many as there are, but no backslash that belongs to what follows.
        parts[i] = rf"(?:{escapes}(?<!\\))?" if last else f"(?:{escapes}?)?" if first else f"{escapes}?"
    return "".join(parts)
