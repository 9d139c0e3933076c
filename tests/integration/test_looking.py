"""`status` and `plan` against a real Kafka: what they say while a daemon works, after it, and before there is any."""

from __future__ import annotations

import json
from pathlib import Path

from confluent_kafka.admin import AdminClient

from streamer.sandbox.faults import FaultRule, Hold
from streamer.sandbox.simulator import Simulator
from tests.brokers import Kafka
from tests.integration.test_first_errors import TOKENS, write_config
from tests.processes import streamer
from tests.replica import INSTANT, running, settings_for
from tests.secured import client


async def test_status_and_plan_tell_what_a_daemon_is_at_and_change_nothing(
    kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    async with Simulator(INSTANT) as mews:
        mews.set_data("Reservation", [b'{"Id":"r1"}\n{"Id":"r2"}\n'])
        write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)

        before = await streamer("status", "--json", cwd=tmp_path, environment=TOKENS)
        assert json.loads(before.stdout)["replicas"] == 0
        assert [row["phase"] for row in json.loads(before.stdout)["streams"]] == ["idle", "idle"]
        planned = await streamer("plan", "--json", cwd=tmp_path, environment=TOKENS)
        assert [row["does"] for row in json.loads(planned.stdout)["streams"]] == ["asks Mews for an export"] * 2
        known = AdminClient(client(kafka.bootstrap_servers)).list_topics(timeout=30).topics
        assert not [name for name in known if name.startswith(prefix)]

        mews.add_fault(FaultRule(on="file", action=Hold(before=False, at_byte=5)))
        async with running(settings_for(kafka.bootstrap_servers, prefix, mews.url)) as daemon:
            await mews.held(timeout=30)
            during = await streamer("status", "-t", "reservation", cwd=tmp_path, environment=TOKENS)
            assert during.code == 0, during
            assert during.stdout.splitlines()[1].split()[:2] == ["alpine/Reservation", "publishing"]
            assert "1 replica(s) at work" in during.stdout
            mews.release()
            await daemon.completed()

        after = await streamer("status", cwd=tmp_path, environment=TOKENS)
        assert "2 records" in after.stdout.splitlines()[2]
        assert "no replica is at work: start `streamer run`" in after.stdout
        planned = await streamer("plan", "-t", "Reservation", cwd=tmp_path, environment=TOKENS)
        assert "in 6d 23h" in planned.stdout
        assert mews.requests["add"] == 1
