"""The union of a file's blocks is the file, however it arrives and wherever it is cut or taken up again."""

from itertools import pairwise

import pytest

from streamer.core.blocks import BlockLimits, Cut, digest_of
from streamer.core.partitioner import partition_of
from streamer.core.records import RECORD_OVERHEAD, Reason, size_of
from tests.unit.cases import cases
from tests.unit.core.cut_lines import BOM
from tests.unit.core.gathered import PARTITIONS, STREAM, blocks_from, check_invariants, facts, taken, whole

FILE = (
    BOM
    + b'{"Id":"a","n":1}\n'
    + b"\r\n"
    + '{"Id":"č","n":"žluťoučký\u2028"}\r\n'.encode()
    + b'{"Id":null}\n'
    + b'{"Id":"b","n":"\xff"}\n'
    + b" \t\n"
    + b'{"Id":"a","n":2}\n'
    + b'{"Id":"long","n":"' + b"x" * 80 + b'"}\n'
    + b'{"n":3,"Id":"d"}'
)  # fmt: skip


def test_every_line_is_a_record_a_dead_letter_or_blank() -> None:
    block = whole(FILE)
    check_invariants(block)
    assert (block.lines, block.records, block.blank, block.size) == (9, 4, 2, len(FILE))
    assert (block.start, block.end) == (Cut(0, 0), Cut(len(FILE), 9))
    assert (block.file_index, block.ends_file) == (2, True)
    assert [(key.decode(), value) for _, key, value, _ in block.batches.records] == [
        ("a", b'{"Id":"a","n":1}'),
        ("č", '{"Id":"č","n":"žluťoučký\u2028"}'.encode()),
        ("a", b'{"Id":"a","n":2}'),
        ("d", b'{"n":3,"Id":"d"}'),
    ]
    assert [(d.reason, d.line, d.value, d.length) for d in block.dead_letters] == [
        (Reason.NULL_ID, 4, b'{"Id":null}', 11),
        (Reason.BAD_UTF8, 5, b'{"Id":"b","n":"\xff"}', 18),
        (Reason.LINE_TOO_LONG, 8, (b'{"Id":"long","n":"' + b"x" * 80)[:64], 100),
    ]


def test_offsets_in_headers_are_where_the_lines_start() -> None:
    block = whole(FILE)
    for _, _, value, headers in block.batches.records:
        offset = int(dict(headers)["ce_id"].removeprefix(b"e1/2/"))
        assert FILE[offset:].startswith(value)
    for letter in block.dead_letters:
        assert FILE[letter.offset :].startswith(letter.value)
        assert FILE[: letter.offset].count(b"\n") == letter.line - 1
        assert dict(letter.headers)["ce_id"] == b"e1/2/%d" % letter.offset
        assert dict(letter.headers)["streamer.line"] == b"%d" % letter.line
        assert dict(letter.headers)["streamer.length"] == b"%d" % letter.length


def test_records_go_to_the_partition_of_their_key() -> None:
    for partition, key, _, _ in whole(FILE).batches.records:
        assert partition == partition_of(key, PARTITIONS)


def test_blocks_of_any_chunks_make_up_the_file() -> None:
    for size in range(1, len(FILE) + 1):
        found = taken(FILE, [size])
        assert facts(found) == facts([whole(FILE)]), size
        assert found[0].start == Cut()
        assert found[-1].end == Cut(len(FILE), 9)
        assert [block.ends_file for block in found] == [False] * (len(found) - 1) + [True]
        for one, other in pairwise(found):
            check_invariants(one)
            assert one.end == other.start


def test_any_cut_is_a_place_to_resume() -> None:
    found = taken(FILE, [1])
    for index, block in enumerate(found):
        blocks = blocks_from(block.end)
        blocks.feed(FILE[block.end.offset :])
        blocks.finish()
        assert facts([*found[: index + 1], blocks.take()]) == facts([whole(FILE)])


@pytest.mark.parametrize("data", [b"", BOM])
def test_an_empty_file_ends_in_a_block_without_lines(data: bytes) -> None:
    block = whole(data)
    assert (block.lines, block.records, block.tallies, block.ends_file) == (0, 0, {}, True)
    assert block.end == Cut(len(data), 0)


def test_a_block_never_splits_a_line() -> None:
    blocks = blocks_from()
    blocks.feed(b'{"Id":')
    assert (blocks.size, blocks.is_empty) == (0, True)
    assert blocks.take().end == Cut(0, 0)
    blocks.feed(b'"a"}\n{"Id"')
    assert (blocks.size, blocks.is_empty) == (11, False)
    block = blocks.take()
    assert (block.start, block.end, block.size, block.ends_file) == (Cut(0, 0), Cut(11, 1), 11, False)
    assert [value for _, _, value, _ in block.batches.records] == [b'{"Id":"a"}']
    assert blocks.is_empty


def test_each_block_has_batches_and_counts_of_its_own() -> None:
    blocks = blocks_from()
    blocks.feed(b'{"Id":"a"}\n\n{}\n')
    first = blocks.take()
    assert blocks.dead_letters == 0
    blocks.feed(b'{"Id":"b"}\n')
    second = blocks.take()
    assert first.batches is not second.batches
    assert (first.records, first.blank, len(first.dead_letters)) == (1, 1, 1)
    assert (second.records, second.blank, len(second.dead_letters)) == (1, 0, 0)
    assert sum(tally.records for tally in second.tallies.values()) == 1


def test_dead_letters_can_be_counted_before_the_block_is_taken() -> None:
    blocks = blocks_from()
    blocks.feed(b"rubbish\n" * 1000)
    assert blocks.dead_letters == 1000


def test_a_record_that_just_fits_its_topic_is_published_and_a_larger_one_is_not() -> None:
    line = b'{"Id":"a","n":"' + b"x" * 3000 + b'"}'
    headers = [("ce_id", b"e1/2/%d" % (2**63 - 1)), *whole(b'{"Id":"a"}').batches.records[0][3]]
    del headers[2]  # the one with the shorter ce_id
    least = len(b"a") + len(line) + size_of(headers) + RECORD_OVERHEAD
    assert whole(line, max_line_bytes=5000, max_record_bytes=least).records == 1
    (letter,) = whole(line, max_line_bytes=5000, max_record_bytes=least - 1).dead_letters
    assert (letter.reason, letter.length) == (Reason.RECORD_TOO_LARGE, len(line))


@cases("line", [b'{"Id":"a","n":"' + b"x" * 3000 + b'"}', b"x" * 3000, b"x" * 9000])
def test_a_dead_letter_too_large_for_its_topic_is_cut(line: bytes) -> None:
    (letter,) = whole(line, max_line_bytes=5000, max_record_bytes=2000).dead_letters
    weight = len(letter.value) + len(str(STREAM)) + size_of(letter.headers) + RECORD_OVERHEAD
    assert 1900 <= weight <= 2000
    assert line.startswith(letter.value)
    assert letter.length == len(line)


def test_without_headers_records_have_none_and_dead_letters_have_theirs() -> None:
    block = whole(b'{"Id":"a"}\n{}\n', headers=False)
    assert block.batches.records[0][3] == []
    assert dict(block.dead_letters[0].headers)["__connect.errors.exception.class.name"] == b"no_id"


def test_one_bad_line_does_not_make_its_neighbours_bad() -> None:
    block = whole('{"Id":"č"}\n'.encode() + b'{"Id":"\xff"}\n' + '{"Id":"ž"}\r\n'.encode())
    assert [key.decode() for _, key, _, _ in block.batches.records] == ["č", "ž"]
    assert [letter.line for letter in block.dead_letters] == [2]


def test_digests_tell_key_from_value_and_are_those_of_xxh3() -> None:
    assert digest_of(b"ab", b"c") != digest_of(b"a", b"bc")
    assert digest_of(b"", b"") == 0xC44BDFF4074EECDB


@cases(("size", "age", "full"), [(0, 0.0, False), (99, 1.9, False), (100, 0.0, True), (0, 2.0, True)])
def test_a_block_is_full_by_size_or_by_age(size: int, age: float, full: bool) -> None:
    assert BlockLimits(bytes=100, seconds=2.0).is_full(size, age) is full
