from typing import Any

from xxhash import xxh3_64_intdigest

from streamer.sandbox.demo_proof import Fingerprints, Verdict, compare, total

FILES = (b'{"Id":"a","n":1}\n{"Id":"b","n":2}\n', b'\n{"Id":"c","n":3}')
RECORDS = (
    (0, b"e/0/0", b"a", b'{"Id":"a","n":1}'),
    (1, b"e/0/17", b"b", b'{"Id":"b","n":2}'),
    (1, b"e/1/1", b"c", b'{"Id":"c","n":3}'),
)
Record = tuple[int, bytes, bytes, bytes]


def verdict(*records: Record, completed: dict[str, Any] | None = None) -> Verdict:
    served, found = Fingerprints(), Fingerprints()
    for number, content in enumerate(FILES):
        served.add_file(number, content)
    for record in records:
        found.add_record("e", *record)
    return compare(served, found, completed or told(*records))


def told(*records: Record) -> dict[str, Any]:
    """The event that an export of these records has."""
    sums: dict[str, list[int]] = {}
    for partition, _, key, value in records:
        sums.setdefault(str(partition), []).append(xxh3_64_intdigest(key + b"\0" + value))
    return {"partitions": {p: {"records": len(s), "digest": f"{sum(s) % 2**64:016x}"} for p, s in sums.items()}}


def test_every_line_once() -> None:
    assert verdict(*RECORDS) == Verdict(lines=3, records=3)
    assert verdict(*reversed(RECORDS)).exactly_once


def test_a_missing_a_doubled_and_a_foreign_record() -> None:
    assert verdict(*RECORDS[:2]) == Verdict(lines=3, records=2, missing=1)
    assert verdict(*RECORDS, RECORDS[1]) == Verdict(lines=3, records=4, doubled=1)
    assert verdict(*RECORDS, (0, b"other/0/0", b"a", b"{}")) == Verdict(lines=3, records=4, foreign=1)
    assert verdict(*RECORDS, (0, b"e/0/1", b"a", b"{}")) == Verdict(lines=3, records=4, foreign=1)
    # One too many and one too few: the numbers alone would look right.
    assert not verdict(*RECORDS[:2], RECORDS[1]).exactly_once


def test_another_byte_or_another_key() -> None:
    assert verdict(*RECORDS[:2], (1, b"e/1/1", b"c", b'{"Id":"c","n":4}')).altered == 1
    assert verdict(*RECORDS[:2], (1, b"e/1/1", b"C", RECORDS[2][3])).altered == 1


def test_an_event_that_says_something_else() -> None:
    assert verdict(*RECORDS, completed=told(*RECORDS[:2])).contradictions == 1
    assert verdict(*RECORDS, completed=told()).contradictions == 2


def test_nothing_at_all_is_whole_too() -> None:
    assert compare(Fingerprints(), Fingerprints(), told()) == Verdict()
    assert Verdict().exactly_once


def test_verdicts_add_up() -> None:
    assert total([Verdict(1, 2, 3, 4, 5, 6, 7), Verdict(1, 1, 1, 1, 1, 1, 1)]) == Verdict(2, 3, 4, 5, 6, 7, 8)
