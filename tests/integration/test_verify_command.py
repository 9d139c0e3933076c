"""`streamer verify` over what a daemon published: proved where all is well, refused as soon as one record is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from streamer.sandbox.simulator import Simulator
from tests.brokers import Kafka
from tests.integration.test_first_errors import TOKENS, write_config
from tests.processes import Said, streamer
from tests.replica import INSTANT, running, see, settings_for
from tests.secured import client


async def verified(directory: Path) -> tuple[Said, dict[str, Any]]:
    """The command's answer, for people and for programs."""
    said = await streamer("verify", cwd=directory, environment=TOKENS)
    for_programs = await streamer("verify", "--json", cwd=directory, environment=TOKENS)
    assert said.code == for_programs.code
    return said, json.loads(for_programs.stdout)


async def test_every_line_is_proved_and_a_record_too_many_is_found(kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    async with Simulator(INSTANT) as mews:
        mews.set_data("Reservation", [b'{"Id":"r1"}\n{"Id":"r2"}\n{"no":"id"}\n\n', b'{"Id":"r1"}\n'])
        write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
        async with running(settings_for(kafka.bootstrap_servers, prefix, mews.url)) as daemon:
            await daemon.completed()

    said, told = await verified(tmp_path)
    assert said.code == 0, said
    assert "proved line by line" in said.stdout
    assert "1 completed exports, 0 cut short, 0 under way; 3 records read; no differences" in said.stdout
    (export,) = told["exports"]
    assert (export["records"], export["found"], export["dead_letters"]) == (3, 3, 1)

    record = (await see(kafka.bootstrap_servers, prefix)).entities()[0]
    producer = Producer(client(kafka.bootstrap_servers))
    producer.produce(record.topic, record.value, record.key, partition=record.partition, headers=list(record.headers))
    assert producer.flush(30) == 0

    said, told = await verified(tmp_path)
    assert said.code == 1
    assert f"{record.header('ce_id')} is there again" in said.stdout
    assert told["count"] == 1
