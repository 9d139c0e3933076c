"""Whatever a file holds and however it arrives: its lines, and what becomes of them in blocks."""

from hypothesis import given
from hypothesis import strategies as st

from streamer.core.blocks import Tally
from tests.unit.core.cut_lines import BOM, cut, expected
from tests.unit.core.gathered import check_invariants, facts, taken, whole

lines = st.lists(
    st.sampled_from(
        [
            *(b'{"Id":"%d"}' % n for n in range(8)),
            '{"Id":"é","x":"\u2028"}'.encode(),
            b"",
            b" ",
            b"{}",
            b"\xff",
            b'{"Id":"\xc3"}',
            b"y" * 65,
            BOM,
        ]
    ),
    max_size=12,
)
files = st.builds(
    lambda found, ending, last, mark: mark + ending.join([*found, last]),
    lines,
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([b"", b'{"Id":"last"}', b"\r", b" "]),
    st.sampled_from([b"", BOM]),
)


@given(files, st.lists(st.integers(1, 90), min_size=1, max_size=5), st.data())
def test_any_file_in_any_chunks_taken_up_anywhere_is_published_once(
    data: bytes, sizes: list[int], draw: st.DataObject
) -> None:
    once = whole(data)
    check_invariants(once)
    found = taken(data, sizes)
    assert facts(found) == facts([once])
    done = draw.draw(st.integers(0, len(found) - 1))
    cut = found[done].end
    again = taken(data, sizes, cut)
    assert facts([*found[: done + 1], *again]) == facts([once])
    assert sum(block.size for block in found) == len(data)


@given(st.permutations([b'{"Id":"%d"}\n' % n for n in range(9)]))
def test_digests_do_not_depend_on_the_order_of_records(shuffled: list[bytes]) -> None:
    assert whole(b"".join(shuffled)).tallies == whole(b"".join(sorted(shuffled))).tallies


@given(st.lists(st.builds(Tally, st.integers(0, 10**6), st.integers(0, 2**64 - 1)), min_size=3, max_size=3))
def test_tallies_add_up_in_any_grouping(three: list[Tally]) -> None:
    a, b, c = three
    assert a.plus(b).plus(c) == c.plus(a.plus(b)) == a.plus(b.plus(c))
    assert a.plus(b).plus(c).digest == (a.digest + b.digest + c.digest) % 2**64
    assert a.plus(Tally()) == a


some_bytes = st.lists(st.sampled_from([b"\n", b"\r", b"\xef", b"\xbb", b"\xbf", b"ab", b"x" * 9, b"\xc3\xa9"]))


@given(st.lists(some_bytes.map(b"".join)), st.integers(1, 12))
def test_any_bytes_in_any_chunks_give_the_same_lines(pieces: list[bytes], limit: int) -> None:
    assert cut(pieces, limit=limit) == expected(b"".join(pieces), limit=limit)


@given(some_bytes.map(b"".join), some_bytes.map(b"".join))
def test_a_cutter_that_starts_at_a_line_finds_the_rest(before: bytes, after: bytes) -> None:
    before += b"\n"
    whole = cut([before + after])
    first = cut([before])
    rest = cut([after], offset=len(before), line=len(first))
    assert first + rest == whole
