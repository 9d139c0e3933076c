"""Records of any size, in batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.core.record_format import encode_headers
from tests.unit.kafka.small_batches import LIMIT, Record, encoded, of_aiokafka, record_batches, records_in

values = st.binary(max_size=2 * LIMIT)
headers = st.lists(st.tuples(st.text(max_size=70), st.binary(max_size=70)), max_size=4)
records = st.lists(st.tuples(st.binary(max_size=70), st.none() | values, headers), max_size=25)


@given(st.lists(st.tuples(st.integers(0, 2), st.none() | values, st.booleans()), max_size=25))
def test_every_partition_gets_its_records_in_order_whatever_their_sizes(
    appended: list[tuple[int, bytes | None, bool]],
) -> None:
    batches = record_batches()
    expected: dict[int, list[Record]] = {}
    for number, (partition, value, has_headers) in enumerate(appended):
        headers = [("ce_id", b"%d" % number)] if has_headers else []
        batches.append(partition, b"%d" % number, value, encode_headers(headers))
        expected.setdefault(partition, []).append((b"%d" % number, value, headers))
    closed = batches.close()
    assert all(one.closed() for builders in closed.values() for one in builders)
    assert all(one.record_count() > 0 for builders in closed.values() for one in builders)
    assert {p: sum(one.record_count() for one in builders) for p, builders in closed.items()} == {
        p: len(group) for p, group in expected.items()
    }
    assert all(one.size() <= LIMIT or one.record_count() == 1 for builders in closed.values() for one in builders)
    assert {p: records_in(builders) for p, builders in closed.items()} == expected


@given(records)
def test_any_records_have_the_bytes_that_aiokafka_makes_of_them(appended: list[Record]) -> None:
    assert [bytes(one._build()) for one in encoded(appended)] == [bytes(one._build()) for one in of_aiokafka(appended)]
