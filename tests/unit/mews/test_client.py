from __future__ import annotations

import errno
import socket
import ssl

import aiohttp
import yarl
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy

from streamer.mews.client import describe
from tests.unit.cases import cases

URL = yarl.URL("https://blobs.test/f?sig=secret")
KEY = ConnectionKey("files.test", 443, True, True, None, None, None)
REQUEST = RequestInfo(URL, "GET", CIMultiDictProxy(CIMultiDict()), URL)


@cases(
    ("error", "words"),
    [
        (
            aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(errno.ECONNREFUSED, "secret")),
            "no connection to files.test:443 (Connection refused)",
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "secret")),
            "the name files.test can't be resolved",
        ),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "secret")),
            "no trusted connection to files.test:443 (ClientConnectorCertificateError)",
        ),
        (aiohttp.ConnectionTimeoutError("secret"), "no connection in time"),
        (aiohttp.SocketTimeoutError("secret"), "no answer in time"),
        (TimeoutError("secret"), "no answer in time"),
        (aiohttp.ServerDisconnectedError("secret"), "the server hung up without an answer"),
        (aiohttp.ClientPayloadError("secret"), "the body was cut short"),
        (aiohttp.InvalidURL(URL, "secret"), "the address is no valid URL"),
        (aiohttp.ClientResponseError(REQUEST, ()), "the answer is not HTTP as it should be"),
        (
            aiohttp.ClientOSError(errno.ECONNRESET, "secret"),
            "the connection broke (Connection reset by peer)",
        ),
        (aiohttp.ClientOSError("secret"), "the connection broke (ClientOSError)"),
        (aiohttp.ClientError("secret"), "ClientError"),
    ],
)
def test_a_failure_is_told_without_what_may_be_secret(error: Exception, words: str) -> None:
    assert describe(error) == words
