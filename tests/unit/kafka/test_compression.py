"""The seam to aiokafka's compression: level 1, in the place where batches are built."""

from __future__ import annotations

import cramjam
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from streamer.kafka import compression

RECORDS_BEGIN_AT = 61
"""Bytes of a batch before its records (KIP-98)."""


def batch(records: int = 200) -> bytes:
    builder = BatchBuilder(1 << 20, DefaultRecordBatch.CODEC_ZSTD)
    for n in range(records):
        value = b'{"Id":"%d","Name":"Zo\xc3\xab","Amounts":[%d,%d]}' % (n, n * 7919 % 1000, n * 104729 % 1000)
        assert builder.append(timestamp=1_700_000_000_000, key=b"%d" % n, value=value, headers=[]) is not None
    return bytes(builder._build())


def test_a_batch_is_compressed_at_level_one() -> None:
    compression.compress_quickly()

    records = batch()[RECORDS_BEGIN_AT:]

    content = bytes(cramjam.zstd.decompress(records))
    assert records == bytes(cramjam.zstd.compress(content, level=compression.ZSTD_LEVEL))
    assert records != bytes(cramjam.zstd.compress(content, level=3))


def test_another_level_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    compression.compress_quickly()
    quick = batch()

    monkeypatch.setattr(compression, "ZSTD_LEVEL", 9)

    assert batch() != quick
