"""Every byte of the kernel's batches, every verdict and every count is that of the Python path, for any lines."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.core.blocks import Cut, digest_of
from streamer.core.comparing import Comparison, key_and_update
from streamer.core.differences import Table, facts_of
from streamer.core.partitioner import partition_of
from streamer.kafka.encoded_batches import BatchFormat
from tests.models.depth import DEEPER
from tests.unit.core.cut_lines import BOM
from tests.unit.kafka.both_paths import ODD_FILE, ensure_same, gathered, told

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


moments = st.sampled_from(
    [
        *('"2026-03-01T12:00:00Z"', '"2026-03-01T12:00:00.5Z"', '"2026-03-01T12:00:00.1234567Z"', "null", "null"),
        *('"2026-03-01T12:00:00.123456789Z"', '"2026-03-01T13:00:00+01:00"', '"2026-02-29T12:00:00Z"', '"\\u0032"'),
        *('"2024-02-29T23:59:59.999999Z"', '"1969-12-31T23:59:59Z"', '"2026-03-01T24:00:00Z"', '""', "1", "[[]]"),
    ]
)
dated = st.builds(
    lambda key, moment, more: f'{{"Id":"{key}","UpdatedUtc":{moment}{more}}}'.encode(),
    st.sampled_from("abcdefgh"),
    moments,
    st.sampled_from(["", "", ',"n":1', ',"UpdatedUtc":null', ',"n":"é"']),
)


def table_of(known: list[bytes]) -> Table:
    """What a topic says in which these lines were published, one after the other."""
    table = Table()
    for at, line in enumerate(known):
        key, updated = key_and_update(line)
        table.take_back(
            partition_of(key, 3),
            facts_of([key], [digest_of(key, line)], [updated]),
            timestamps=np.array([at], dtype=np.int64),
            tombstones=np.array([at % 5 == 4]),
        )
    return table


def contents(table: Table) -> list[tuple[int, ...]]:
    """All that a table holds, by partition and key; in which runs does not matter."""
    columns = ("keys", "checks", "values", "updated", "flags")
    return sorted(
        (number, *row)
        for number, partition in table._partitions.items()
        for run in partition.runs
        for row in zip(*(getattr(run, column).tolist() for column in columns), strict=True)
    )


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

    @settings(max_examples=120)
    @given(
        known=st.lists(dated, max_size=8),
        file=st.lists(st.tuples(dated | lines, endings).map(b"".join), max_size=12).map(b"".join),
        cuts=st.lists(st.integers(0, 600), max_size=4),
        share=st.sampled_from([(0, 3), (0, 3), (0, 2), (2, 3)]),
        too_large=st.sampled_from([set(), set(), {1}]),
        only_seen=st.sampled_from([False, False, False, True]),
    )
    def test_compares_with_the_topic_as_the_python_path_does(
        self,
        known: list[bytes],
        file: bytes,
        cuts: list[int],
        share: tuple[int, int],
        too_large: set[int],
        only_seen: bool,
    ) -> None:
        places = [0, *sorted(cuts), len(file)]
        chunks = [file[begin:end] for begin, end in pairwise(places)]
        form = BatchFormat(batch_bytes=400, zstd=False, transactional=True)
        outcomes = []
        for kernel in (False, True):
            comparison = Comparison(table_of(known), first=share[0], end=share[1])
            comparison.too_large = too_large
            judge = comparison.see if only_seen else comparison.judge
            made = gathered(chunks, kernel=kernel, form=form, comparison=comparison, judge=judge)
            outcomes.append(([told(block, form) for block in made], comparison.unreadable, contents(comparison.table)))
        assert outcomes[0] == outcomes[1]

    @DEEPER
    @given(st.lists(st.integers(100, 3000), max_size=40))
    def test_compresses_to_the_same_bytes(self, sizes: list[int]) -> None:
        file = b"".join(b'{"Id":"%d","Text":"%s"}\n' % (n, b"ab%d" % n * (size // 4)) for n, size in enumerate(sizes))
        form = BatchFormat(batch_bytes=2000, zstd=True, transactional=True)
        ensure_same([file], form, max_line_bytes=10_000, max_record_bytes=20_000)

    def test_cuts_a_file_anywhere(self) -> None:
        for place in range(len(ODD_FILE) + 1):
            ensure_same([ODD_FILE[:place], ODD_FILE[place:]])

    def test_closes_a_batch_at_the_same_size(self) -> None:
        file = b'{"Id":"a","n":"1234567890"}\n' * 2 + b'{"Id":"a"}\n' * 2
        for batch_bytes in range(190, 400):
            ensure_same([file], BatchFormat(batch_bytes=batch_bytes, zstd=False, transactional=True))

    def test_leaves_alone_what_compression_would_make_larger(self) -> None:
        file = b'{"Id":"a","Name":"b"}\n'
        zstd, plain = (BatchFormat(batch_bytes=2000, zstd=zstd, transactional=True) for zstd in (True, False))
        made = [told(block, zstd) for block in gathered([file], kernel=True, form=zstd, headers=False)]
        assert made == [told(block, plain) for block in gathered([file], kernel=True, form=plain, headers=False)]
