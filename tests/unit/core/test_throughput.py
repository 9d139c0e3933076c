from streamer.core.throughput import BUCKET_SECONDS, BUCKETS, Throughput


def test_what_was_published_before_anybody_looked_is_no_speed() -> None:
    throughput = Throughput(0.0)
    throughput.take(0.0, "e1", 5_000, first=True)
    throughput.take(1.0, "e1", 6_000)
    assert throughput.rate(1.0) == 1_000
    assert throughput.curve(BUCKET_SECONDS)[-1] == 200


def test_a_new_export_begins_at_nothing_and_a_repeated_look_adds_nothing() -> None:
    throughput = Throughput(0.0)
    throughput.take(0.0, None, 0, first=True)
    throughput.take(1.0, "e1", 300)
    throughput.take(2.0, "e1", 300)
    throughput.take(3.0, "e2", 200)
    throughput.take(4.0, None, 0)
    throughput.take(4.0, "e2", 200)
    assert sum(throughput.curve(5.0)) * BUCKET_SECONDS == 500


def test_the_curve_has_a_fixed_length_and_ends_in_silence() -> None:
    throughput = Throughput(0.0)
    throughput.take(0.0, None, 0, first=True)
    throughput.take(1.0, "e1", 1_000)
    assert len(throughput.curve(1.0)) == len(throughput.curve(10_000.0)) == BUCKETS
    assert not any(throughput.curve(10_000.0))
    assert throughput.rate(10_000.0) == 0
