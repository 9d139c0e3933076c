"""What Prometheus reads."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamer.metrics import CONTENT_TYPE, Metrics
from streamer.model import ConnectionName, EntityType, StreamKey

BILLS = StreamKey(ConnectionName("alpine"), EntityType.BILL)
LABELS = {"connection": "alpine", "entity_type": "Bill"}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_committed_transaction_counts_what_was_in_it() -> None:
    metrics = Metrics()
    stream = metrics.stream(BILLS)
    stream.committed(records=90, lines=100, size=43_000, seconds=0.03)
    stream.committed(records=10, lines=10, size=4_300, seconds=0.2)
    stream.aborted()
    assert value(metrics, "streamer_records_total", **LABELS) == 100
    assert value(metrics, "streamer_lines_total", **LABELS) == 110
    assert value(metrics, "streamer_bytes_total", **LABELS) == 47_300
    assert value(metrics, "streamer_transactions_total", **LABELS, outcome="committed") == 2
    assert value(metrics, "streamer_transactions_total", **LABELS, outcome="aborted") == 1
    assert value(metrics, "streamer_commit_seconds_count") == 2
    assert value(metrics, "streamer_commit_seconds_bucket", le="0.05") == 1


def test_a_stream_is_in_one_phase_at_a_time() -> None:
    metrics = Metrics()
    stream = metrics.stream(BILLS)
    for phase in ("idle", "requesting", "requesting", "waiting"):
        stream.entered(phase)
    phases = {p: value(metrics, "streamer_phase", **LABELS, phase=p) for p in ("idle", "requesting", "waiting")}
    assert phases == {"idle": 0, "requesting": 0, "waiting": 1}


def test_reasons_and_outcomes_are_counted_apart() -> None:
    metrics = Metrics()
    stream = metrics.stream(BILLS)
    stream.retried("rate_limited")
    stream.retried("rate_limited")
    stream.retried("mews_unavailable")
    stream.dead_letter("bad_json")
    stream.dead_letter("too_long", 2)
    stream.export_ended("completed")
    stream.download_resumed()
    assert value(metrics, "streamer_retries_total", **LABELS, reason="rate_limited") == 2
    assert value(metrics, "streamer_retries_total", **LABELS, reason="mews_unavailable") == 1
    assert value(metrics, "streamer_dead_letters_total", **LABELS, reason="too_long") == 2
    assert value(metrics, "streamer_exports_total", **LABELS, outcome="completed") == 1
    assert value(metrics, "streamer_downloads_resumed_total", **LABELS) == 1


def test_a_stream_that_moved_away_leaves_its_counters_and_nothing_of_its_state() -> None:
    metrics = Metrics()
    stream = metrics.stream(BILLS)
    stream.entered("idle")
    stream.entered("waiting")
    stream.lags(timedelta(minutes=3))
    stream.blocked(timedelta(0))
    stream.stopped(True)
    stream.export_ended("completed")
    assert value(metrics, "streamer_lag_seconds", **LABELS) == 180
    assert value(metrics, "streamer_stream_stopped", **LABELS) == 1
    stream.left()
    page = b"".join(metrics.parts()).decode()
    for name in ("streamer_phase{", "streamer_lag_seconds{", "streamer_blocked_seconds{", "streamer_stream_stopped{"):
        assert name not in page
    assert value(metrics, "streamer_exports_total", **LABELS, outcome="completed") == 1
    stream.left()
    stream.entered("idle")
    assert value(metrics, "streamer_phase", **LABELS, phase="idle") == 1


def test_one_stream_has_one_set_of_metrics_and_one_process_one_registry() -> None:
    metrics = Metrics()
    assert metrics.stream(BILLS) is metrics.stream(StreamKey(ConnectionName("alpine"), EntityType.BILL))
    metrics.stream(BILLS).aborted()
    assert value(Metrics(), "streamer_transactions_total", **LABELS, outcome="aborted") is None


def test_the_page_is_one_that_prometheus_reads_with_help_for_all() -> None:
    metrics = Metrics()
    metrics.owned_shards.set(16)
    metrics.producer_restarts.inc()
    metrics.loop_delay.set(0.002)
    metrics.stream(BILLS).entered("idle")
    families = {family.name: family for family in text_string_to_metric_families(b"".join(metrics.parts()).decode())}
    ours = {name for name in families if not name.startswith("process_")}
    assert {"streamer_owned_shards", "streamer_producer_restarts", "streamer_loop_delay_seconds"} <= ours
    assert all(name.startswith("streamer_") for name in ours)
    assert all(family.documentation for family in families.values())
    assert CONTENT_TYPE.startswith("text/plain")


# --- documents that name metrics ------------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent.parent


def described() -> dict[str, str]:
    """The line of the table in docs/metrics.md for every metric of our own."""
    metrics = Metrics()
    found = [metric for name, metric in vars(metrics).items() if hasattr(metric, "describe") and name != "registry"]
    lines = {}
    for metric in found:
        family = metric.describe()[0]
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        lines[name] = f"| `{name}` | {family.type} | {labels} | {family.documentation} |"
    return lines


def test_the_document_tells_every_metric_and_no_other() -> None:
    told = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    wanted = "\n".join(
        ["| metric | kind | labels | what it tells |", "| --- | --- | --- | --- |", *described().values()]
    )
    assert told.endswith(f"\n\n{wanted}\n"), f"docs/metrics.md is to end with:\n{wanted}"


@pytest.mark.parametrize("path", ["deploy/grafana/streamer.json", "deploy/prometheus/streamer.rules.yaml"])
def test_every_metric_that_is_asked_for_exists(path: str) -> None:
    asked = set(re.findall(r"\bstreamer_[a-z_]+", (ROOT / path).read_text(encoding="utf-8")))
    known = set(described())
    known |= {f"{name}_{part}" for name in described() for part in ("bucket", "count", "sum")}
    assert asked
    assert asked - known == set()


def test_every_alert_has_a_test_in_which_it_fires_and_an_entry_in_the_runbook() -> None:
    rules = (ROOT / "deploy/prometheus/streamer.rules.yaml").read_text(encoding="utf-8")
    tests = (ROOT / "tests/rules/streamer.test.yaml").read_text(encoding="utf-8")
    runbook = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert alerts
    for alert in alerts:
        assert f"### {alert}\n" in runbook
        assert f"runbook: docs/operations.md#{alert.lower()}\n" in rules
        verdicts = re.findall(rf"- alertname: {alert}\n +eval_time: \w+\n +exp_alerts:( \[\])?", tests)
        assert "" in verdicts, f"{alert} never fires in a test"
        assert " []" in verdicts, f"{alert} is never quiet in a test"
