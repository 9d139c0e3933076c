"""Certificates that are replaced while clients live."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamer.config import KafkaConfig
from streamer.errors import ConfigError
from streamer.kafka.tls import renew_tls, tls_context
from tests.authority import Authority


@asynccontextmanager
async def guarded_by(authority: Authority) -> AsyncIterator[tuple[int, list[int]]]:
    """A server that wants a certificate: its port, and the serial numbers of the certificates that it was shown."""
    shown: list[int] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("ssl_object").getpeercert()
        shown.append(int(certificate["serialNumber"], 16))
        writer.write(b"seen")
        writer.close()
        await writer.wait_closed()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
    context.load_cert_chain(authority.certificate("127.0.0.1", name="server"))
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(look, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], shown


async def visit(port: int, config: KafkaConfig) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls_context(config))
    assert await reader.read() == b"seen"
    writer.close()
    await writer.wait_closed()


async def test_a_new_certificate_is_shown_from_the_next_connection_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    own = authority.certificate(name="client")
    config = KafkaConfig(security_protocol="SSL", ssl_ca_file=authority.ca_file, ssl_cert_file=own)
    async with guarded_by(authority) as (port, shown):
        await visit(port, config)
        assert renew_tls(config) is False

        first = own.read_text()
        authority.certificate(name="client")
        second = own.read_text()
        # Replaced half: the new certificate with the old key.
        cut = "-----END PRIVATE KEY-----\n"
        own.write_text(first.partition(cut)[0] + cut + second.partition(cut)[2])
        with pytest.raises(ValueError, match="can't be used yet"):
            renew_tls(config)
        await visit(port, config)

        own.write_text(second)
        assert renew_tls(config) is True
        await visit(port, config)
    before, between, after = shown
    assert before == between != after


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    config = KafkaConfig(security_protocol="SSL", ssl_ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match=r"kafka\.ssl_ca_file: "):
        tls_context(config)
