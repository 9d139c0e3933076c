"""TLS to the brokers: one context for all clients of a process, so that a new certificate reaches all of them."""

from __future__ import annotations

import ssl
from pathlib import Path

from streamer.config import KafkaConfig
from streamer.errors import ConfigError

_Files = tuple[Path | None, Path | None, Path | None]
_contexts: dict[_Files, _Context] = {}


def tls_context(config: KafkaConfig) -> ssl.SSLContext:
    """The context for these settings. Raises ``ConfigError`` where the files are no certificates or no keys."""
    files = (config.ssl_ca_file, config.ssl_cert_file, config.ssl_key_file)
    try:
        if files not in _contexts:
            _contexts[files] = _Context(config)
        return _contexts[files].context
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError; what it says names the reason and no content.
        raise ConfigError("kafka.ssl_cert_file" if config.ssl_cert_file else "kafka.ssl_ca_file", str(error)) from None


def renew_tls(config: KafkaConfig) -> bool:
    """Take over certificates, key and authorities whose files have changed; whether any had.

    Connections that are open keep theirs. Raises ``ValueError`` where the new files don't fit together, as happens
    while one is replaced after the other: to be tried again.
    """
    held = _contexts.get((config.ssl_ca_file, config.ssl_cert_file, config.ssl_key_file))
    return held is not None and held.renew(config)


class _Context:
    def __init__(self, config: KafkaConfig) -> None:
        self.context = ssl.create_default_context(cafile=config.ssl_ca_file)
        self._loaded = _contents(config)
        self._load_certificate(config)

    def renew(self, config: KafkaConfig) -> bool:
        try:
            contents = _contents(config)
            if contents == self._loaded:
                return False
            if config.ssl_ca_file:
                # Adds to those that are trusted; one that is to be trusted no longer needs a restart.
                self.context.load_verify_locations(cafile=config.ssl_ca_file)
            self._load_certificate(config)
        except OSError as error:
            raise ValueError(f"the new files of kafka.ssl_… can't be used yet: {error}") from None
        self._loaded = contents
        return True

    def _load_certificate(self, config: KafkaConfig) -> None:
        if config.ssl_cert_file:
            password = config.ssl_key_password.reveal() if config.ssl_key_password else None
            # On another context first: one that has met a certificate with the key of another keeps neither (measured).
            for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), self.context):
                context.load_cert_chain(config.ssl_cert_file, config.ssl_key_file, password)


def _contents(config: KafkaConfig) -> tuple[bytes, ...]:
    files = (config.ssl_ca_file, config.ssl_cert_file, config.ssl_key_file)
    return tuple(path.read_bytes() for path in files if path)
