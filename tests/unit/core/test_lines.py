r"""Lines are the same wherever the chunks are cut, and ``\n`` alone ends them."""

from streamer.core.lines import LineCutter, Lines, LongLine, is_blank, is_utf8
from tests.unit.cases import cases
from tests.unit.core.cut_lines import BOM, cut, expected, pieces_of

FILE = BOM + b'{"a":1}\r\n\n  \t\r\n' + "{“\u2028”}\n".encode() + b"bad \xff\r\r\n" + b"x" * 40 + b"\r\nend\r"


@cases("limit", [5, 8, 39, 40, 1000])
def test_lines_do_not_depend_on_where_chunks_are_cut(limit: int) -> None:
    lines = expected(FILE, limit=limit)
    for size in range(1, len(FILE) + 1):
        assert cut(pieces_of(FILE, size), limit=limit) == lines, f"chunks of {size}"
        assert cut([FILE[:size], FILE[size:]], limit=limit) == lines, f"cut at {size}"


@cases(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"\r", [b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\r\nb\r", [b"a", b"b"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"a\rb\n", [b"a\rb"]),
        (b"\r\n\n", [b"", b""]),
        ("a\u2028b\x85\u2029\x0b\x0c\n".encode(), ["a\u2028b\x85\u2029\x0b\x0c".encode()]),
        (BOM, []),
        (BOM + b"\n", [b""]),
        (BOM + BOM + b"a", [BOM + b"a"]),
        (b"a\n" + BOM + b"b", [b"a", BOM + b"b"]),
        (BOM[:1], [BOM[:1]]),
        (BOM[:2], [BOM[:2]]),
        (BOM[:2] + b"\n", [BOM[:2]]),
    ],
)
@cases("size", [1, 2, 3, 100])
def test_only_a_newline_ends_a_line(data: bytes, lines: list[bytes], size: int) -> None:
    assert [found[2] for found in cut(pieces_of(data, size))] == lines


def test_a_byte_order_mark_moves_the_first_line_but_not_its_number() -> None:
    assert cut([BOM[:1], BOM[1:2], BOM[2:] + b"a\nb\n"]) == [(1, 3, b"a", 1, False), (2, 5, b"b", 1, False)]


def test_a_byte_order_mark_in_mid_file_belongs_to_its_line() -> None:
    assert cut([BOM + b"a\n"], offset=7, line=2) == [(3, 7, BOM + b"a", 4, False)]


@cases(
    ("data", "head", "length"),
    [
        (b"123456\n", b"12345", 6),
        (b"123456\r\n", b"12345", 6),
        (b"12345\r\r\n", b"12345", 6),
        (b"123456\r", b"12345", 6),
        (b"1234567", b"12345", 7),
    ],
)
@cases("size", [1, 3, 100])
def test_a_long_line_keeps_its_first_bytes_and_its_length(data: bytes, head: bytes, length: int, size: int) -> None:
    assert cut(pieces_of(data, size), limit=5) == [(1, 0, head, length, True)]


@cases("data", [b"12345\n", b"12345\r\n", b"12345\r", b"12345"])
@cases("size", [1, 3, 100])
def test_a_line_of_just_the_limit_is_not_too_long(data: bytes, size: int) -> None:
    assert cut(pieces_of(data, size), limit=5) == [(1, 0, b"12345", 5, False)]


def test_an_endless_line_does_not_grow_memory() -> None:
    cutter = LineCutter(offset=0, line=0, max_line_bytes=100)
    for _ in range(1000):
        assert cutter.feed(b"x" * 1000) == []
    assert len(cutter._unfinished) == 101
    assert cutter.feed(b"\nshort\n") == [
        LongLine(b"x" * 100, 1_000_000, 0, 1),
        Lines([b"short"], 1_000_001, 2, True, False),
    ]


def test_lines_of_one_chunk_come_as_one_run() -> None:
    cutter = LineCutter(offset=0, line=0, max_line_bytes=100)
    assert cutter.feed(b"a\nb\nc\nd") == [Lines([b"a", b"b", b"c"], 0, 1, True, False)]
    assert cutter.feed(b"d\ne\n") == [Lines([b"dd"], 6, 4, True, False), Lines([b"e"], 9, 5, True, False)]


def test_a_character_cut_in_two_is_still_valid() -> None:
    cutter = LineCutter(offset=0, line=0, max_line_bytes=100)
    euro = "€".encode()
    assert cutter.feed(b"a\n" + euro[:1]) == [Lines([b"a"], 0, 1, True, False)]
    assert cutter.feed(euro[1:] + b"\n" + euro + b"\n") == [
        Lines([euro], 2, 2, True, False),
        Lines([euro], 6, 3, True, False),
    ]


@cases("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_bytes_that_are_no_utf8_are_noticed(bad: bytes) -> None:
    assert not is_utf8(b"a" + bad)
    cutter = LineCutter(offset=0, line=0, max_line_bytes=100)
    assert cutter.feed(b"good\n" + bad + b"\n") == [Lines([b"good", bad], 0, 1, False, False)]


@cases("line", [b"", b" ", b"\t", b"\r", b" \t\r \r"])
def test_json_whitespace_is_blank(line: bytes) -> None:
    assert is_blank(line)


@cases("line", [b"\x0b", b"\x0c", b"\xc2\xa0", b"\0", b" {} "])
def test_anything_else_is_not_blank(line: bytes) -> None:
    assert not is_blank(line)
