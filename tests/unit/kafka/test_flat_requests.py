"""The seam to aiokafka's encoding of produce requests: the same bytes, in pieces."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import Schema

from streamer.kafka.flat_requests import FlatSchema, Unjoined, encode_produce_requests_flat
from streamer.kafka.sliced_writing import SlicedWriter

TOPICS = [
    ("mews.bill", [(0, b"a batch"), (7, bytearray(b"another one" * 1000))]),
    ("mews.exports", [(3, b"")]),
    ("mews.dead-letters", []),
]


def fields_of(names: tuple[str, ...], transactional_id: str | None) -> list[Any]:
    values = {"transactional_id": transactional_id, "required_acks": -1, "timeout": 40000, "topics": TOPICS}
    return [values[name] for name in names]


def test_a_batch_in_pieces_is_not_joined() -> None:
    encode_produce_requests_flat()
    flat = ProduceRequest._CLASSES[-1].SCHEMA
    whole, batch = (fields_of(flat.names, "t") for _ in range(2))
    piece = b"another one" * 1000
    whole[-1] = [("mews.bill", [(7, b"head" + piece)])]
    batch[-1] = [("mews.bill", [(7, Unjoined([b"head", piece]))])]

    encoded = flat.encode(batch)

    assert bytes(encoded) == bytes(flat.encode(whole))
    assert any(one is piece for one in encoded.pieces)


@pytest.mark.parametrize("transactional_id", ["mews.streamer.3", None])
def test_every_version_of_the_request_has_the_bytes_that_aiokafka_would_send(transactional_id: str | None) -> None:
    encode_produce_requests_flat()
    versions = ProduceRequest._CLASSES

    for version in versions:
        flat = version.SCHEMA
        own = Schema(*zip(flat.names, flat.fields, strict=True))
        if "transactional_id" not in flat.names and transactional_id is not None:
            continue
        item = fields_of(flat.names, transactional_id)

        assert isinstance(flat, FlatSchema)
        assert not isinstance(own, FlatSchema)
        assert bytes(flat.encode(item)) == own.encode(item)

    assert len(versions) >= 8


async def test_a_connection_writes_what_it_would_without_the_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    encode_produce_requests_flat()
    written: list[bytes] = []

    class Writer:
        def write(self, data: bytes) -> None:
            assert type(data) is bytes
            written.append(data)

        async def drain(self) -> None: ...

    async def sent(request: Any) -> bytes:
        connection = AIOKafkaConnection("localhost", 9092)
        writer: Any = Writer()
        connection._writer = SlicedWriter(writer)
        connection._versions = {0: (0, 8)}
        await connection.send(request, expect_response=False)
        connection._writer = None
        return written.pop()

    def request() -> Any:
        return ProduceRequest(transactional_id="t", required_acks=0, timeout=9, topics=TOPICS)

    flat = await sent(request())
    for version in ProduceRequest._CLASSES:
        names, fields = version.SCHEMA.names, version.SCHEMA.fields
        monkeypatch.setattr(version, "SCHEMA", Schema(*zip(names, fields, strict=True)))
    assert await sent(request()) == flat


def test_a_request_with_a_field_too_few_is_refused() -> None:
    encode_produce_requests_flat()
    flat = ProduceRequest._CLASSES[-1].SCHEMA

    with pytest.raises(ValueError, match="field count"):
        flat.encode([None])


def test_setting_it_twice_changes_nothing() -> None:
    encode_produce_requests_flat()
    before = [version.SCHEMA for version in ProduceRequest._CLASSES]

    encode_produce_requests_flat()

    assert [version.SCHEMA for version in ProduceRequest._CLASSES] == before
