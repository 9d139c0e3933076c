"""`streamer dead-letters` over what a daemon set aside."""

from __future__ import annotations

import json
from pathlib import Path

from streamer.sandbox.simulator import Simulator
from tests.brokers import Kafka
from tests.integration.test_first_errors import TOKENS, write_config
from tests.processes import streamer
from tests.replica import INSTANT, running, settings_for


async def test_dead_letters_are_listed_and_shown(kafka: Kafka, prefix: str, tmp_path: Path) -> None:
    async with Simulator(INSTANT) as mews:
        mews.set_data("Reservation", [b'{"Id":"r1"}\n{"no":"id"}\n', b'{"Id":\n'])
        write_config(tmp_path, kafka.bootstrap_servers, prefix, mews.url)
        async with running(settings_for(kafka.bootstrap_servers, prefix, mews.url)) as daemon:
            await daemon.completed()

    listed = await streamer("dead-letters", "list", "--json", cwd=tmp_path, environment=TOKENS)
    assert listed.code == 0, listed
    letters = {letter["reason"]: letter for letter in json.loads(listed.stdout)}
    assert {(word, letter["file"], letter["line"]) for word, letter in letters.items()} == {
        ("no_id", 0, 2),
        ("bad_json", 1, 1),
    }

    for_people = await streamer("dead-letters", "list", cwd=tmp_path, environment=TOKENS)
    assert letters["no_id"]["ce_id"] in for_people.stdout

    shown = await streamer("dead-letters", "show", letters["no_id"]["ce_id"], cwd=tmp_path, environment=TOKENS)
    assert "refused again: the line is no JSON object with an Id" in shown.stdout
    assert '{"no":"id"}' in shown.stdout

    unknown = await streamer("dead-letters", "show", "e1/0/0", cwd=tmp_path, environment=TOKENS)
    assert unknown.code == 1
    assert "there is no dead letter e1/0/0" in unknown.sentence
