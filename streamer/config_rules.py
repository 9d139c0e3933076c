"""What single settings have to look like, apart from their type; used by the structs to check themselves."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn
from urllib.parse import urlsplit

from streamer.errors import ConfigError

SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")
MEWS_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TOPIC_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,248}")
TOPIC_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def refuse(path: str, problem: str) -> NoReturn:
    """Says where and what; the path is that of the struct's own field; the decoder completes it."""
    raise ConfigError(path, problem)


def check_between(path: str, value: timedelta, low: timedelta, high: timedelta) -> None:
    """Refuses a time outside the limits, which are part of what is allowed."""
    if not low <= value <= high:
        refuse(path, f"expected {low.total_seconds():g}s to {high.total_seconds():g}s")


def check_ids(path: str, ids: Sequence[str]) -> None:
    """Ids of Mews, at most as many as a request takes, each once (operations/exports)."""
    if len(ids) > 1000:
        refuse(path, "has more than the 1000 that Mews takes")
    for i, text in enumerate(ids):
        if not MEWS_ID.fullmatch(text):
            refuse(f"{path}[{i}]", f'expected an id such as "3fa85f64-5717-4562-b3fc-2c963f66afa6", not "{text}"')
        if text in ids[:i]:
            refuse(f"{path}[{i}]", f"{text} is there twice")


def check_placeholders(path: str, template: str) -> None:
    """A topic's name is made of ``{prefix}``, ``{connection}`` and ``{type}``, the last one at least."""
    placeholders = re.findall(r"\{[^}]*\}", template)
    if "{type}" not in placeholders:
        refuse(path, "needs {type}, or entities of all types would share a topic")
    for placeholder in placeholders:
        if placeholder not in ("{prefix}", "{connection}", "{type}"):
            refuse(path, f"knows {{prefix}}, {{connection}} and {{type}}, not {placeholder}")


def rooted_url(path: str, url: str) -> str:
    """The URL without a slash at its end, if tokens may be sent there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        refuse(path, "is no URL; expected scheme and host, such as https://api.mews.com")
    if not host or port == 0 or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        refuse(path, "expected scheme and host alone, such as https://api.mews.com")
    _check_scheme(path, parts.scheme, host)
    return f"{parts.scheme}://{parts.netloc}"


def check_address(path: str, url: str, *, example: str, with_secret: bool = True) -> None:
    """A URL with a host, without a user or a fragment; encrypted where a secret is sent to it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        refuse(path, f"is no URL; expected one such as {example}")
    if not host or port == 0 or parts.fragment or "@" in parts.netloc or parts.scheme not in ("http", "https"):
        refuse(path, f"expected a URL such as {example}")
    if with_secret:
        _check_scheme(path, parts.scheme, host)


def _check_scheme(path: str, scheme: str, host: str) -> None:
    if scheme != "https" and not (scheme == "http" and _is_loopback(host)):
        refuse(path, "expected https://; plain http:// is for this machine only (127.0.0.1, localhost)")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
