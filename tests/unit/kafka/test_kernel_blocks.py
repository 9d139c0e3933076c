"""Every byte of the kernel's batches, every verdict and every count is that of the Python path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.core.blocks import Block, Cut, FileBlocks
from streamer.kafka import kernel_blocks
from streamer.kafka.batches import RecordBatches
from streamer.kafka.compression import compress_quickly
from streamer.kafka.encoded_batches import BatchFormat
from streamer.kafka.kernel_blocks import KernelBlocks, file_blocks
from streamer.model import ConnectionName, EntityType, ExportId, StreamKey

NOW = 1_700_000_000_000
BOM = b"\xef\xbb\xbf"
CODECS = {False: 0, True: 4}


def batches_in(form: BatchFormat) -> RecordBatches:
    def builder() -> BatchBuilder:
        return BatchBuilder(form.batch_bytes, CODECS[form.zstd], is_transactional=int(form.transactional))

    return RecordBatches(builder, timestamp=NOW, format=form)


def gathered(
    chunks: Sequence[bytes],
    *,
    kernel: bool,
    form: BatchFormat,
    headers: bool = True,
    start: Cut = Cut(),  # noqa: B008 (immutable)
    partitions: int = 3,
    max_line_bytes: int = 90,
    max_record_bytes: int = 10_000,
) -> list[Block[RecordBatches]]:
    """A block for each chunk, and the last one."""
    blocks = file_blocks(
        export_id=ExportId("e1"),
        stream=StreamKey(ConnectionName("alpine"), EntityType.BILL),
        file_index=2,
        start=start,
        partitions=partitions,
        max_line_bytes=max_line_bytes,
        max_record_bytes=max_record_bytes,
        headers=headers,
        new_batches=lambda: batches_in(form),
        preparation=None,
        kernel=kernel,
    )
    assert isinstance(blocks, KernelBlocks if kernel else FileBlocks)
    taken = []
    for chunk in chunks:
        blocks.feed(chunk)
        seen = (blocks.size, blocks.is_empty, blocks.dead_letters)
        taken.append(blocks.take())
        assert seen == (taken[-1].size, taken[-1].size == 0, len(taken[-1].dead_letters))
    blocks.finish()
    return [*taken, blocks.take()]


def told(block: Block[RecordBatches], form: BatchFormat) -> Any:
    """All there is to know of a block: what it counts, and the bytes that go to Kafka."""
    if form.zstd:
        block.batches.compress()
    sent = {}
    for partition, batches in block.batches.close().items():
        for sequence, batch in enumerate(batches):
            batch._set_producer_state(7_000_000_001, 3, sequence)
        sent[partition] = [(batch.record_count(), bytes(batch._build()), batch.size()) for batch in batches]
    letters = [(letter.value, letter.reason, letter.headers) for letter in block.dead_letters]
    return block.start, block.end, block.records, block.blank, block.tallies, block.ends_file, letters, sent


def ensure_same(chunks: Sequence[bytes], form: BatchFormat | None = None, **options: Any) -> None:
    form = form or BatchFormat(batch_bytes=400, zstd=False, transactional=True)
    expected = [told(block, form) for block in gathered(chunks, kernel=False, form=form, **options)]
    assert [told(block, form) for block in gathered(chunks, kernel=True, form=form, **options)] == expected


names = st.sampled_from(["Id", "id", "Name", "Zoë", "I\\u0064", "\\u0049d", '\\"', "a\\/b"])
texts = st.text(max_size=12) | st.sampled_from(
    ["\\", "\\n", "\\u00e9", "\\ud83d\\ude00", "\\ud800", "\\udc00x", "\\x", "\\u12", "\t"]
)
numbers = st.sampled_from(
    ["0", "-0", "1.5", "1e400", "-1E-999", "9" * 30, "01", "1.", ".5", "+1", "1e", "-", "NaN", "0x1"]
)
strings = texts.map(lambda text: '"' + text.replace('"', '\\"') + '"')
atoms = st.sampled_from(["true", "false", "null", "tru", "nul", "[]", "{}", "[,]", "{,}", ""]) | numbers | strings
blanks = st.sampled_from(["", "", "", " ", "\t", "\r", "\x0b", "\u00a0"])


def listed(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=3).map(lambda some: "[" + ",".join(some) + "]")


def an_object(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(names, blanks, blanks, values).map(lambda m: f'"{m[0]}"{m[1]}:{m[2]}{m[3]}')
    return st.lists(member, max_size=4).map(lambda some: "{" + ",".join(some) + "}")


values = st.recursive(atoms, lambda inner: listed(inner) | an_object(inner), max_leaves=6)
objects = st.tuples(blanks, an_object(values), blanks, st.sampled_from(["", "", "", ",", "x"])).map("".join)
good = st.tuples(st.text(min_size=1, max_size=6), st.text(max_size=80)).map(
    lambda pair: json.dumps({"Id": pair[0], "Name": pair[1]}, ensure_ascii=False)
)
lines = st.one_of(
    good.map(lambda line: line.encode("utf-8", "surrogatepass")),
    objects.map(lambda line: line.encode("utf-8", "surrogatepass")),
    st.binary(max_size=20),
    st.just(b""),
    st.integers(85, 95).map(lambda size: b'{"Id":"' + b"x" * (size - 9) + b'"}'),
)
endings = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r\r\n"])
files = st.lists(st.tuples(lines, endings).map(b"".join), max_size=12).map(b"".join)
starts = st.sampled_from([b"", b"", BOM, BOM[:2], BOM + BOM])


class TestTheKernel:
    @settings(max_examples=80)
    @given(
        file=st.tuples(starts, files, st.just(b"") | lines).map(b"".join),
        cuts=st.lists(st.integers(0, 600), max_size=6),
        headers=st.booleans(),
        transactional=st.booleans(),
        batch_bytes=st.integers(62, 700),
        start=st.sampled_from([Cut(), Cut(100, 7)]),
        max_record_bytes=st.sampled_from([0, 600, 650, 10_000]),
    )
    def test_makes_the_same_of_any_lines_however_they_arrive(
        self,
        file: bytes,
        cuts: list[int],
        headers: bool,
        transactional: bool,
        batch_bytes: int,
        start: Cut,
        max_record_bytes: int,
    ) -> None:
        places = [0, *sorted(cuts), len(file)]
        chunks = [file[begin:end] for begin, end in pairwise(places)]
        form = BatchFormat(batch_bytes=batch_bytes, zstd=False, transactional=transactional)
        ensure_same(chunks, form, headers=headers, start=start, max_record_bytes=max_record_bytes)

    @settings(max_examples=120)
    @given(objects)
    @example('{"Id":"a","Deep":' + "[" * 2000 + "]" * 2000 + "}")
    @example('{"Id":"a","Deep":' + '{"a":' * 62 + "1" + "}" * 62 + "}")
    @example('{"Id":"a","Deep":' + "[" * 65 + "]" * 65 + "}")
    def test_judges_any_line_as_the_parser_does(self, line: str) -> None:
        ensure_same([line.encode("utf-8", "surrogatepass")], max_line_bytes=10_000)

    @given(st.lists(st.integers(1, 3000), max_size=40))
    def test_compresses_to_the_same_bytes(self, sizes: list[int]) -> None:
        compress_quickly()
        file = b"".join(b'{"Id":"%d","Text":"%s"}\n' % (n, b"ab%d" % n * (size // 4)) for n, size in enumerate(sizes))
        form = BatchFormat(batch_bytes=2000, zstd=True, transactional=True)
        ensure_same([file], form, max_line_bytes=10_000, max_record_bytes=20_000)

    def test_cuts_a_file_anywhere(self) -> None:
        file = (
            BOM + b'{"Id":"a"}\n\r\n \n{"Id":null}\n{"Id":"\xc3\xa9"}\r\n{"Id":"\xff"}\n' + b"y" * 92 + b"\r\n"
            b'{"Id":"' + b"z" * 81 + b'"}\r\n{"Id":"b"}'
        )
        for place in range(len(file) + 1):
            ensure_same([file[:place], file[place:]])
        ensure_same([file[place : place + 1] for place in range(len(file))])

    def test_a_batch_can_be_sent_again_and_stays_as_it_is(self) -> None:
        form = BatchFormat(batch_bytes=400, zstd=False, transactional=False)
        first, _ = gathered([b'{"Id":"a"}\n'], kernel=True, form=form)
        ((batch,),) = first.batches.close().values()
        batch._set_producer_state(1, 2, 3)
        once = batch._build()
        assert bytes(batch._build()) == bytes(once)
        with memoryview(once), pytest.raises(BufferError):
            batch._set_producer_state(1, 2, 4)

    def test_an_error_in_the_judgement_is_handed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(_: bytes) -> None:
            raise MemoryError

        monkeypatch.setattr(kernel_blocks, "why_no_record", broken)
        with pytest.raises(MemoryError):
            gathered([b"{}\n"], kernel=True, form=BatchFormat(batch_bytes=400, zstd=False, transactional=False))
