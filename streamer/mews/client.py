"""Builds the two aiohttp sessions, and says in safe words what went wrong in them.

Why two: calls of the API carry tokens in their bodies, downloads carry signatures in their addresses, and
neither should ever meet the other's connections. The session for files leaves bodies encoded, because offsets
have to be counted while decoding, a bounded piece at a time.

aiohttp's own errors may hold the whole address in their text (``InvalidURL``, ``ClientResponseError``), and a
log with a traceback would print the chain. Hence ``describe``, and ``raise ... from None`` wherever it is
used: class, host and errno are all that is worth keeping.
"""

from __future__ import annotations

import os
import socket

import aiohttp

REQUEST_SECONDS = 60.0
"""From asking to the end of the answer. Mews prescribes nothing; its own 408 comes after "tens of seconds".
"""

STALL_SECONDS = 60.0
"""A download without a single byte for so long is given up; however slow, it may go on for hours otherwise.
"""

_CONNECT_SECONDS = 30.0
_CONNECTIONS_FOR_CALLS = 16
_READ_BUFFER_BYTES = 256 * 1024


def api_session(version: str) -> aiohttp.ClientSession:
    """A session for calls of the API; to be closed by the caller. Needs a running loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS_FOR_CALLS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"streamer/{version}", "Accept": "application/json"},
        timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=_CONNECT_SECONDS),
        trust_env=False,
    )


def file_session(version: str, *, stall_seconds: float = STALL_SECONDS) -> aiohttp.ClientSession:
    """A session for downloads; to be closed by the caller. Holds less than 1 MB a download. Needs a
    running loop.

    How many downloads run at once is the caller's affair (``exports.max_active``), so the connector sets no
    limit.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"streamer/{version}", "Accept": "*/*"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=stall_seconds),
        auto_decompress=False,
        read_bufsize=_READ_BUFFER_BYTES,
        trust_env=False,
    )


def describe(error: BaseException) -> str:
    """What happened, in words that hold no address, header or body: those may be secret."""
    match error:
        case aiohttp.ClientConnectorError():
            return _unconnected(error)
        case aiohttp.ConnectionTimeoutError():
            return "no connection in time"
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ServerDisconnectedError():
            return "the server hung up without an answer"
        case aiohttp.ClientPayloadError():
            return "the body was cut short"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP as it should be"
        case ValueError():
            return "the address is no valid URL"
        case OSError():
            return f"the connection broke ({_cause(error)})"
        case _:
            return type(error).__name__


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} can't be resolved"
        case aiohttp.ClientSSLError():
            return f"no trusted connection to {error.host}:{error.port} ({type(error).__name__})"
        case _:
            return f"no connection to {error.host}:{error.port} ({_cause(error.os_error)})"


def _cause(error: OSError) -> str:
    if error.errno is None or isinstance(error, socket.gaierror):
        return type(error).__name__
    # Not `strerror`: aiohttp and asyncio put addresses into it.
    return os.strerror(error.errno)
