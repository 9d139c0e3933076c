"""Quotas of clients, which no client library at hand can set: AlterClientQuotas, version 0 (KIP-546)."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Float64, Int16, Int32, Schema, String

from streamer.config import KafkaConfig
from streamer.kafka.connection import client_options

_ENTITY = Array(("entity_type", String("utf-8")), ("entity_name", String("utf-8")))


class _Answer(Response):  # type: ignore[misc]
    API_KEY = 49
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("entries", Array(("error_code", Int16), ("error_message", String("utf-8")), ("entity", _ENTITY))),
    )


class _Question(RequestStruct):  # type: ignore[misc]
    API_KEY = 49
    API_VERSION = 0
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        (
            "entries",
            Array(
                ("entity", _ENTITY),
                ("ops", Array(("key", String("utf-8")), ("value", Float64), ("remove", Boolean))),
            ),
        ),
        ("validate_only", Boolean),
    )


class _AlterClientQuotas(Request[_Question]):  # type: ignore[misc]
    API_KEY = 49

    def __init__(self, client_id: str, key: str, value: float) -> None:
        self._entry = ([("client-id", client_id)], [(key, value, False)])

    def build(self, request_struct_class: type[_Question]) -> _Question:
        return request_struct_class([self._entry], False)


async def limit_reading(config: KafkaConfig, client_id: str, bytes_per_second: float) -> None:
    """Have the brokers hold back who reads more under this client id, from now on."""
    admin = AIOKafkaAdminClient(**client_options(config))
    await admin.start()
    try:
        answer = await admin._send_request(_AlterClientQuotas(client_id, "consumer_byte_rate", bytes_per_second))
    finally:
        await admin.close()
    assert [code for code, *_ in answer.entries] == [0], answer
