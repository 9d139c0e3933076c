"""Registers schemas with whatever speaks the API of Confluent's Schema Registry, by Confluent's own client.

Blocking, and never part of the daemon: a registry that is down or slow must not stop delivery, and what is published
are the bytes of Mews, without a schema's number in front of them.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from streamer.config import TopicsConfig
from streamer.contract.subjects import Subject
from streamer.errors import ConfigError, FatalError

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

T = TypeVar("T")

_TIMEOUT_SECONDS = 10
_RETRIES = 2
_REFUSALS = (409, 422)
"""Not compatible; no schema, in the registry's eyes."""


class Verdict(enum.StrEnum):
    """What became of a subject, or would."""

    REGISTERED = "registered"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Registration(msgspec.Struct, frozen=True):
    """The answer for one subject; ``version`` is None where nothing is registered, ``problem`` says why."""

    subject: str
    verdict: Verdict
    version: int | None = None
    problem: str | None = None


@contextmanager
def registry(topics: TopicsConfig) -> Iterator[SchemaRegistryClient]:
    """The client of these settings. Raises ``ConfigError`` without an address or the extra.

    Around its use, too: ``FatalError`` where the registry can't be reached or gives no sense.
    """
    if topics.schema_registry is None:
        raise ConfigError("topics.schema_registry", "is not set: where is the registry?")
    try:
        import httpx2
        from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError
    except ImportError:
        problem = "needs the extra: pip install 'streamer[registry]'"
        raise ConfigError("topics.schema_registry", problem) from None
    settings: dict[str, Any] = {
        "url": topics.schema_registry,
        "timeout": _TIMEOUT_SECONDS,
        "max.retries": _RETRIES,
    }
    if topics.schema_registry_password is not None:
        login = f"{topics.schema_registry_username}:{topics.schema_registry_password.reveal()}"
        settings["basic.auth.user.info"] = login
    if topics.schema_registry_ca_file is not None:
        settings["ssl.ca.location"] = str(topics.schema_registry_ca_file)
    try:
        with SchemaRegistryClient(settings) as client:
            yield client
    except (httpx2.HTTPError, SchemaRegistryError) as error:
        problem = str(error) or type(error).__name__
        raise FatalError(f"the schema registry can't be used (topics.schema_registry): {problem}") from error


def register(
    client: SchemaRegistryClient, subjects: Iterable[Subject], *, dry_run: bool = False
) -> Iterator[Registration]:
    """Register what isn't yet, subject by subject; a refused one keeps none of the others from it.

    A subject that is new to the registry gets its level; what somebody has set since stays. With ``dry_run`` nothing is
    changed, and the registry is asked what it would say.
    """
    from confluent_kafka.schema_registry import Schema, SchemaRegistryError

    for subject in subjects:
        name, text = subject.name, Schema(json.dumps(subject.schema, ensure_ascii=False), "JSON")
        registered = _unless_missing(partial(client.lookup_schema, name, text))
        if registered is not None:
            yield Registration(name, Verdict.UNCHANGED, registered.version)
            continue
        try:
            if dry_run:
                fits = _unless_missing(partial(client.test_compatibility, name, text))
                problem = "it is not compatible with the last version" if fits is False else None
                yield Registration(name, Verdict.REFUSED if problem else Verdict.REGISTERED, problem=problem)
                continue
            # Before the first version, not after it: a kill between the two would leave it without.
            if not _unless_missing(partial(client.get_versions, name)):
                client.set_compatibility(name, subject.level)
            client.register_schema(name, text)
        except SchemaRegistryError as error:
            if error.http_status_code not in _REFUSALS:
                raise
            yield Registration(name, Verdict.REFUSED, problem=str(error.error_message))
        else:
            yield Registration(name, Verdict.REGISTERED, client.lookup_schema(name, text).version)


def _unless_missing(call: Callable[[], T]) -> T | None:
    """What a call gives; None where the registry knows no such subject or schema."""
    from confluent_kafka.schema_registry import SchemaRegistryError

    try:
        return call()
    except SchemaRegistryError as error:
        if error.http_status_code == 404:
            return None
        raise
