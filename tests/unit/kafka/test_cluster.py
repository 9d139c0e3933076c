from streamer.kafka.cluster import release_of

FETCH, INIT_PRODUCER_ID = 1, 22


def test_a_release_is_told_by_what_it_brought() -> None:
    cases = {
        "4.1": {FETCH: (4, 18), 88: (0, 0), 80: (0, 1), 50: (0, 0)},
        "4.0": {FETCH: (4, 17), 80: (0, 1), 50: (0, 0)},
        "3.9": {FETCH: (0, 17), 80: (0, 0), 75: (0, 0)},
        "3.0": {FETCH: (0, 12), 66: (0, 0)},
        "2.5": {FETCH: (0, 11), INIT_PRODUCER_ID: (0, 3)},
        "": {FETCH: (0, 10), INIT_PRODUCER_ID: (0, 1)},
    }
    assert {release: release_of(versions) for release, versions in cases.items()} == {name: name for name in cases}
