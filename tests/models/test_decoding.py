"""What the kernel makes of batches that were read back is what the Python path makes of them, errors included."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np
import pytest
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.differences import facts_of
from streamer.kafka import decoding
from streamer.kafka.decoding import SLICE_RECORDS, Source, committed, decoder
from tests.models.test_kernel import dated, lines

OURS = b"/mews/alpine"
PRODUCER = 7
FIRST_OFFSET = 100
CODECS = range(5)
"""None, gzip, snappy, lz4, zstd."""

_ATTRIBUTES_AT, _LAST_DELTA_AT, _RECORDS_AT = 21, 23, 61
_APPEND_TIME, _CONTROL = 0x08, 0x20
_PLACE = TopicPartition("bills", 0)


class Header(msgspec.Struct, frozen=True):
    name: str
    value: bytes | None


class Written(msgspec.Struct, frozen=True):
    """A record as somebody has written it; ``gap`` offsets before it were compacted away."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    timestamp: int = 1_700_000_000_000
    gap: int = 0


class Batch(msgspec.Struct, frozen=True):
    records: tuple[Written, ...]
    codec: int = 0
    producer: int = -1
    """Of a transaction, if not -1."""
    marker: int | None = None
    """What ends a transaction, instead of records: 0 aborts, 1 commits."""
    append_time: bool = False

    def encoded(self, base: int) -> bytes:
        """Its bytes, at an offset."""
        builder = DefaultRecordBatchBuilder(2, self.codec, self.producer >= 0, self.producer, 0, 0, 10**9)
        places = list(accumulate((1 + record.gap for record in self.records), initial=-1))[1:]
        for at, record in zip(places, self.records, strict=True):
            headers = [(header.name, header.value) for header in record.headers]
            builder.append(at, record.timestamp, record.key, record.value, headers)
        if self.marker is not None:
            builder.append(0, 1, struct.pack(">hh", 0, self.marker), struct.pack(">hi", 0, 0), [])
        raw = bytearray(builder.build())
        raw[:8] = struct.pack(">q", base)
        flags = _APPEND_TIME * self.append_time | _CONTROL * (self.marker is not None)
        raw[_ATTRIBUTES_AT + 1] |= flags
        return checked(raw)

    @property
    def offsets(self) -> int:
        return max(1, sum(1 + record.gap for record in self.records))


def checked(raw: bytearray) -> bytes:
    """A batch with a good checksum."""
    raw[17:_ATTRIBUTES_AT] = struct.pack(">I", calc_crc32c(bytes(raw[_ATTRIBUTES_AT:])))
    return bytes(raw)


def encoded(batches: Sequence[Batch]) -> list[bytes]:
    """One after the other."""
    bases = accumulate((batch.offsets for batch in batches), initial=FIRST_OFFSET)
    return [batch.encoded(base) for batch, base in zip(batches, bases, strict=False)]


def outcome(raw: bytes, source: Source, *, kernel: bool, aborted: Any = (), from_offset: int = FIRST_OFFSET) -> Any:
    """All that is known of the records in an answer, or what kind of error it is."""
    rows, foreign = [], 0
    try:
        for some in decoder(kernel=kernel)(committed(_PLACE, raw, list(aborted), from_offset), source):
            facts = some.facts
            assert len(some.keys) <= 8 * SLICE_RECORDS
            columns = (facts.keys, facts.checks, facts.values, facts.updated, some.timestamps, some.tombstones)
            rows += list(zip(some.keys, *(column.tolist() for column in columns), strict=True))
            assert [column.dtype for column in columns] == [*map(np.dtype, ("u8", "u4", "u8", "i8", "i8", "?"))]
            foreign += some.foreign
    except Exception as error:
        return type(error)
    return rows, foreign


headers = st.lists(
    st.sampled_from(
        [
            *(Header("ce_source", OURS), Header("ce_source", OURS), Header("ce_source", b"/mews/beach")),
            *(Header("ce_source", None), Header("ce_id", b"x/1"), Header("Zoë", b"\xff"), Header("", b"")),
        ]
    ),
    max_size=3,
).map(tuple)
written = st.builds(
    Written,
    key=st.sampled_from([None, b"", b"a", b"b", b"c" * 36]),
    value=st.none() | dated | lines,
    headers=st.just((Header("ce_source", OURS),)) | headers,
    timestamp=st.sampled_from([1_700_000_000_000, 1_700_000_000_001, 1_600_000_000_000, -1, 0, 2**62]),
    gap=st.sampled_from([0, 0, 0, 1, 200]),
)
batches = st.builds(
    Batch,
    records=st.lists(written, min_size=1, max_size=6).map(tuple),
    codec=st.sampled_from(CODECS),
    producer=st.sampled_from([-1, PRODUCER, PRODUCER + 1]),
    append_time=st.booleans(),
) | st.builds(
    Batch, records=st.just(()), producer=st.sampled_from([PRODUCER, PRODUCER + 1]), marker=st.sampled_from([0, 1])
)
sources = st.builds(Source, header=st.just(OURS), or_none=st.booleans(), gives_way=st.booleans())


class TestTheKernelReadingBack:
    @settings(max_examples=150)
    @given(
        some=st.lists(batches, min_size=1, max_size=5),
        source=sources,
        aborted=st.lists(
            st.tuples(st.sampled_from([PRODUCER, PRODUCER + 1]), st.integers(FIRST_OFFSET, FIRST_OFFSET + 20)),
            max_size=2,
        ),
        skipped=st.integers(0, 8),
        cut=st.none() | st.integers(0, 400),
    )
    def test_says_the_same_of_any_records(
        self,
        some: list[Batch],
        source: Source,
        aborted: list[tuple[int, int]],
        skipped: int,
        cut: int | None,
    ) -> None:
        raw = b"".join(encoded(some))
        raw = raw[: None if cut is None else len(raw) - cut]
        both = [
            outcome(raw, source, kernel=kernel, aborted=aborted, from_offset=FIRST_OFFSET + skipped)
            for kernel in (False, True)
        ]
        assert both[0] == both[1]

    @settings(max_examples=150)
    @given(
        some=st.lists(batches, min_size=1, max_size=3),
        source=sources,
        which=st.integers(0, 2),
        place=st.integers(_LAST_DELTA_AT, 300),
        byte=st.integers(0, 255),
        is_checked=st.sampled_from([True, True, True, False]),
    )
    def test_says_the_same_of_what_is_broken(
        self, some: list[Batch], source: Source, which: int, place: int, byte: int, is_checked: bool
    ) -> None:
        parts = encoded(some)
        which %= len(parts)
        broken = bytearray(parts[which])
        broken[max(_LAST_DELTA_AT, place % len(broken))] = byte
        parts[which] = checked(broken) if is_checked else bytes(broken)
        both = [outcome(b"".join(parts), source, kernel=kernel) for kernel in (False, True)]
        assert both[0] == both[1]

    @pytest.mark.parametrize("codec", CODECS)
    def test_needs_nobody_for_what_is_plain(self, codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
        def nobody(*_: object) -> None:
            raise AssertionError

        ours = (Header("ce_id", b"x/1"), Header("ce_source", OURS))
        numbers = range(10 * SLICE_RECORDS)
        known = [(b"%d" % n, b'{"Id":"%d","UpdatedUtc":"2026-03-01T12:00:00Z"}' % n) for n in numbers]
        large = Batch(tuple(Written(key, value, ours) for key, value in known), codec=codec, producer=PRODUCER)
        small = Batch((Written(b"1", None, ours), Written(b"2", b"{}", ())), codec=codec, producer=PRODUCER)
        raw = b"".join(encoded([large, small, large, large, small]))
        expected = outcome(raw, Source(OURS), kernel=False)
        monkeypatch.setattr(decoding, "decoded_in_python", nobody)
        monkeypatch.setattr(decoding, "_updated", nobody)
        assert outcome(raw, Source(OURS), kernel=True) == expected
        rows, foreign = expected
        assert foreign == 2
        assert [row[0] for row in rows[: len(known)]] == [key for key, _ in known]
        facts = facts_of([known[5][0]], [0], ["2026-03-01T12:00:00Z"])
        assert (rows[5][1], rows[5][4]) == (facts.keys[0], facts.updated[0])

    @pytest.mark.parametrize("magic", [0, 1])
    def test_leaves_to_others_what_is_of_an_older_format(self, magic: int) -> None:
        builder = LegacyRecordBatchBuilder(magic, 0, 10_000)
        builder.append(FIRST_OFFSET, 1_700_000_000_000, b"a", b'{"Id":"a"}')
        both = [outcome(bytes(builder.build()), Source(OURS, or_none=True), kernel=kernel) for kernel in (False, True)]
        assert both[0] == both[1]
