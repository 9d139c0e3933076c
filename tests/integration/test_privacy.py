"""Fields that may not be stored are nowhere in Kafka, and what is there in their place can be compared and joined."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from streamer.config import EntityConfig
from streamer.contract.asyncapi import document
from streamer.contract.entities import example_of
from streamer.model import EntityType, Secret
from streamer.sandbox.simulator import Simulator
from tests.brokers import Kafka
from tests.integration.test_contract import Contract
from tests.replica import INSTANT, RunningReplica, Seen, running, see, settings_for

CUSTOMER = EntityType.CUSTOMER
KEY = b"canary-hash-key-of-32-bytes-or-more"
PRIVACY = EntityConfig(
    drop_fields=("Notes", "Passport"), hash_fields=("Email", "LastName"), hash_key=Secret(KEY.decode())
)
TORN = b'{"Id":"c9","LastName":"canary-torn'


def keyed(text: bytes) -> str:
    return hmac.new(KEY, text, hashlib.sha256).hexdigest()


def customer(number: int, **changed: Any) -> dict[str, Any]:
    """A guest whose every personal field that is veiled can be looked for."""
    fields = {"LastName": "canary-Müller", "Notes": f"canary-{number}", "Email": f"canary-{number}@example.com"}
    return {**example_of(CUSTOMER), "Id": f"c{number}", "Passport": {"Number": "canary"}, **fields, **changed}


def lines(*entities: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(entity).encode() + b"\n" for entity in entities)


def everything(seen: Seen) -> bytes:
    """Every byte that is committed, of all topics: keys, values and headers."""
    parts = []
    for records in seen.published.records.values():
        for record in records:
            parts += [record.key or b"", record.value or b"", *(value for _, value in record.headers)]
    return b"\n".join(parts)


async def test_what_may_not_be_stored_is_nowhere_and_the_rest_is_as_it_was(
    kafka: Kafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Simulator(INSTANT) as mews:
        settings = settings_for(kafka.bootstrap_servers, prefix, mews.url, CUSTOMER)
        config = msgspec.structs.replace(settings, entity={CUSTOMER: PRIVACY})
        mews.set_data(CUSTOMER, [lines(customer(1), customer(2), customer(3, Email=None)) + TORN + b"\n"])
        async with running(config) as replica:
            await replica.completed(CUSTOMER)
        seen = await see(kafka.bootstrap_servers, prefix)
        assert b"canary" not in everything(seen)

        published = {json.loads(record.value or b"")["Id"]: record for record in seen.entities(CUSTOMER)}
        assert set(published) == {"c1", "c2", "c3"}
        contract = Contract(document(config, version="1"))
        for number, (id_, record) in enumerate(sorted(published.items()), 1):
            entity, sent = json.loads(record.value or b""), customer(number)
            assert contract.check(record) == "Customer"
            assert entity["LastName"] == keyed("canary-Müller".encode()), "equal values can be joined"
            assert entity["Email"] == (None if id_ == "c3" else keyed(f"canary-{number}@example.com".encode()))
            veiled = ("Notes", "Passport", "LastName", "Email")
            assert {name: entity.get(name) for name in sent if name not in veiled} == {
                name: value for name, value in sent.items() if name not in veiled
            }
            assert not {"Notes", "Passport"} & set(entity)
        (letter,) = seen.dead_letters(CUSTOMER)
        assert not letter.value
        assert letter.header("streamer.length") == str(len(TORN))
        assert letter.header("streamer.digest") == keyed(TORN)

        # What is compared are the bytes that may be stored: of the second only what is dropped has changed.
        mews.set_data(CUSTOMER, [lines(customer(1), customer(2, Notes="canary-new"), customer(3, LastName="canary-x"))])
        again = RunningReplica(config, once=True)
        await asyncio.wait_for(again.task, 60)
        seen = await see(kafka.bootstrap_servers, prefix)
        assert b"canary" not in everything(seen)
        last = [event for event in seen.events(CUSTOMER) if event["event"] == "export_completed"][-1]
        assert (last["records"], last["unchanged"]) == (1, 2)
    told = capsys.readouterr()
    assert "canary" not in told.out + told.err
