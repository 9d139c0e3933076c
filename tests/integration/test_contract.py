"""What is published is what the contract says: topics, keys, headers, values, drift. The CloudEvents SDK reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.v1.exceptions import DataUnmarshallerError
from cloudevents.v1.kafka.conversion import KafkaMessage as OldKafkaMessage
from cloudevents.v1.kafka.conversion import from_binary
from confluent_kafka.admin import AdminClient, ConfigResource
from jsonschema import Draft202012Validator

from streamer.config import load_config
from streamer.contract.asyncapi import document
from streamer.contract.schemas import all_schemas
from streamer.core.records import tombstone_headers
from streamer.model import PUBLIC_ENTITY_TYPES, ConnectionName, EntityType, StreamKey
from streamer.sandbox.faults import FaultRule, SpoilLine
from streamer.sandbox.local_kafka import LocalKafka
from tests.committed import read_committed
from tests.facts import Record
from tests.scene import CONNECTION, Scene, is_done, staged
from tests.secured import client

ENTITIES = 60
"""Of each type: a JSON Schema takes milliseconds for each."""


def resolved(made: Mapping[str, Any], reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        made = made[part]
    return made


class Contract:
    """The AsyncAPI document as a consumer's tool would use it."""

    def __init__(self, made: Mapping[str, Any]) -> None:
        self.made = made
        self._validators: dict[str, Draft202012Validator] = {}

    def message_of(self, record: Record) -> tuple[str, Mapping[str, Any]]:
        """The one message of the record's channel whose headers it has."""
        channel = self.made["channels"][record.topic]
        headers = {name: value.decode() for name, value in record.headers}
        found = []
        for name, reference in channel["messages"].items():
            message = resolved(self.made, reference["$ref"])
            traits = [resolved(self.made, trait["$ref"])["headers"] for trait in message["traits"]]
            schemas = [message["headers"], *traits]
            is_gone = message["payload"] == {"type": "null"}
            fits = all(self._validator(json.dumps(schema), schema).is_valid(headers) for schema in schemas)
            if fits and is_gone == (record.value is None):
                found.append((name, message))
        (one,) = found
        return one

    def check(self, record: Record) -> str:
        """Fails where the record isn't one of its channel's messages; says which."""
        name, message = self.message_of(record)
        if "$ref" in message["payload"]:
            schema = {**message["payload"], "components": self.made["components"]}
            self._validator(name, schema).validate(json.loads(record.value or b""))
        return name

    def _validator(self, name: str, schema: Mapping[str, Any]) -> Draft202012Validator:
        if name not in self._validators:
            self._validators[name] = Draft202012Validator(schema)
        return self._validators[name]


def told_of_topics(contract: Contract) -> dict[str, tuple[int, dict[str, str]]]:
    """Partitions and configs, by topic, as the document has them."""
    told = {}
    for name, channel in contract.made["channels"].items():
        kafka = channel["bindings"]["kafka"]
        configs = {
            key: ",".join(value) if isinstance(value, list) else str(value)
            for key, value in kafka["topicConfiguration"].items()
        }
        told[name] = (kafka["partitions"], configs)
    return told


def real_topics(bootstrap_servers: str, wanted: Mapping[str, tuple[int, dict[str, str]]]) -> dict[str, Any]:
    """The same, as the broker has them."""
    admin = AdminClient(client(bootstrap_servers))
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in wanted]
    configs = {resource.name: answer.result(30) for resource, answer in admin.describe_configs(resources).items()}
    partitions = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=30).topics.items()}
    return {
        name: (partitions[name], {key: configs[name][key].value for key in told}) for name, (_, told) in wanted.items()
    }


async def published_by_a_run(scene: Scene, folder: Path) -> str:
    """One export of every type, one line of which has no Id and one another type; the page of metrics after it."""
    scene.simulator.add_fault(FaultRule(on="add", entity_type="Bill", action=SpoilLine(how="no_id")))
    scene.simulator.add_fault(FaultRule(on="add", entity_type="Payment", action=SpoilLine(how="other_type")))
    daemon = await scene.start()
    await daemon.until(lambda rows: all(map(is_done, rows.values())), "all exports were complete")
    drift = await daemon.logged("unexpected_shape")
    assert (drift["stream"], drift["field"], drift["path"]) == (f"{CONNECTION}/Payment", "UpdatedUtc", "UpdatedUtc")
    assert "7777" not in drift["problem"]
    return await daemon.page("/metrics")


async def test_all_that_is_published_is_as_the_contract_says(
    local_kafka: LocalKafka, prefix: str, tmp_path: Path
) -> None:
    types = [entity_type.value for entity_type in PUBLIC_ENTITY_TYPES]
    simulated = {"entities": ENTITIES, "files": 2}
    async with staged(local_kafka, prefix, tmp_path, entity_types=types, simulated=simulated, validate="warn") as scene:
        metrics = await published_by_a_run(scene, tmp_path)
        settings = load_config(tmp_path / "daemon-1.toml", environ={}, with_secrets=False)
    contract = Contract(document(settings, version="1"))

    told = told_of_topics(contract)
    assert real_topics(local_kafka.bootstrap_servers, told) == told

    published = read_committed(local_kafka.bootstrap_servers, list(told))
    seen: dict[str, int] = {}
    drifted = [record for record in everything(published.records.values()) if b"777777" in (record.value or b"")]
    for record in everything(published.records.values()):
        if record in drifted:
            continue
        name = contract.check(record)
        seen[name] = seen.get(name, 0) + 1
        if name in types:
            assert json.loads(record.value or b"")["Id"].encode() == record.key
        else:
            assert (record.key or b"").decode() in {f"{CONNECTION}/{entity_type}" for entity_type in types}
    expected = dict.fromkeys(types, ENTITIES)
    expected |= {"Bill": ENTITIES - 1, "Payment": ENTITIES - 1, "DeadLetter": 1}
    expected |= {"ExportRequested": 9, "ExportReady": 9, "FilePublished": 18, "ExportCompleted": 9}
    assert seen == expected

    # The line whose format has changed is published all the same, and told of.
    (record,) = drifted
    assert not Draft202012Validator(all_schemas()["payment"]).is_valid(json.loads(record.value or b""))
    sample = 'streamer_unexpected_shape_lines_total{connection="alpine",entity_type="Payment",field="UpdatedUtc",'
    assert f'{sample}path="UpdatedUtc"}} 1.0' in metrics

    for record in everything(published.records.values()):
        read_by_the_sdk(record)


def everything(records: Iterable[Iterable[Record]]) -> list[Record]:
    return [record for topic in records for record in topic]


def read_by_the_sdk(record: Record) -> None:
    message = KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value or b"")
    event = from_kafka(message, JSONFormat())
    assert (event.get_id(), event.get_source(), event.get_type()) == (
        record.header("ce_id"),
        record.header("ce_source"),
        record.header("ce_type"),
    )
    if record.header("content-type") == "application/json":
        assert event.get_data() == json.loads(record.value or b"")


def test_the_cloudevents_sdk_reads_tombstones_by_its_new_api_alone() -> None:
    stream = StreamKey(ConnectionName("alpine"), EntityType.CUSTOMER)
    headers = dict(tombstone_headers(cause="e1", stream=stream, key=b"x", headers=True))
    event = from_kafka(KafkaMessage(headers=headers, key=b"x", value=None), JSONFormat())  # type: ignore[arg-type]
    assert (event.get_id(), event.get_type(), event.get_data()) == ("e1/gone/x", "com.mews.Customer", None)
    with pytest.raises(DataUnmarshallerError):
        from_binary(OldKafkaMessage(headers=headers, key="x", value=None))  # type: ignore[arg-type]
