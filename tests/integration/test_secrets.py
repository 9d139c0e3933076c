"""No token and no signature gets out: not by logs at their most talkative, pages, metrics or topics, whatever fails."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from streamer.model import EntityType
from streamer.sandbox import faults
from streamer.sandbox.faults import Action, FaultRule
from streamer.sandbox.simulator import Simulator
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.brokers import Kafka
from tests.leaks import WINDOW, forms_of, leaks
from tests.processes import PATIENCE, Process, started, streamer
from tests.replica import see
from tests.secured import environment
from tests.settings_file import settings_file

# Everything that some escaping touches, and runs that none does.
CLIENT_TOKEN = 'Client7Canary0-"q\\b+/=&%<é>' + "5E9C01D7AB34F286"
ACCESS_TOKEN = "Access3Canary1-'~:;,.?#" + "C66EF7B239D24632943D-EA00F8FD8294692C940F6B5A8F9453D"
PASSWORD = 'Sasl5Canary2-{"k": 1}' + "0D1F2A3B4C5D6E7F"
LINK_CANARY = "Link9Canary4" + "QmFzZTY0U2lnbmF0dXJl" + "%2Bx%3D"
"""Of links that no simulator made: those that a redirect leads to."""

PAGES = ("/", "/livez", "/readyz", "/metrics", "/api/streams")


@pytest.mark.parametrize("secret", [CLIENT_TOKEN, ACCESS_TOKEN, PASSWORD, LINK_CANARY])
@pytest.mark.parametrize("form", forms_of("x"))
def test_the_search_finds_a_secret_that_was_planted(secret: str, form: str) -> None:
    planted = b"before " + forms_of(secret)[form].encode() + b" after"
    assert leaks([secret], {"clean": b"nothing here", "log": planted})
    assert all(leak.endswith(" in log") for leak in leaks([secret], {"clean": b"nothing here", "log": planted}))


@pytest.mark.parametrize("secret", [CLIENT_TOKEN, ACCESS_TOKEN, PASSWORD])
def test_the_search_finds_half_a_secret_that_was_planted(secret: str) -> None:
    half = secret[len(secret) // 2 - WINDOW : len(secret) // 2 + WINDOW]
    assert leaks([secret], {"log": f"…{half}…".encode()})


class SigningSimulator(Simulator):
    """A simulator that remembers every signature it has handed out."""

    def __init__(self, settings: SimulatorSettings) -> None:
        super().__init__(settings)
        self.signatures: list[str] = []

    def link(self, file_name: str) -> str:
        link = super().link(file_name)
        self.signatures.append(parse_qs(urlsplit(link).query)["sig"][0])
        return link


def _settings(bootstrap_servers: str, prefix: str, url: str, types: Iterable[EntityType], **kafka: object) -> str:
    return settings_file(
        kafka={"bootstrap_servers": [bootstrap_servers], **kafka},
        topics={"prefix": prefix, "partitions": 1},
        exports={"poll_interval": "100ms", "update_interval": "off", "max_active": 9},
        connections=[
            {
                "name": "alpine",
                "platform_url": url,
                "client_token": {"env": "CLIENT_TOKEN"},
                "access_token": {"file": "access-token"},
                "entity_types": [kind.value for kind in types],
            }
        ],
    )


TOKENS = f"{CLIENT_TOKEN} {ACCESS_TOKEN}"


def _refused(code: int, told: str) -> FaultRule:
    """Mews says no, and repeats a token in its Message."""
    return FaultRule(on="add", action=faults.Status(code=code, message=f"No access for {told}!"))


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _on_file(*actions: Action) -> list[FaultRule]:
    return [FaultRule(on="file", action=action) for action in actions]


# By type, so that each meets its own.
TROUBLE: dict[EntityType, list[FaultRule]] = {
    EntityType.ORDER_ITEM: [_refused(400, ACCESS_TOKEN), *_on_file(faults.Cut(at_byte=500), faults.LinkExpired())],
    EntityType.PAYMENT: [_refused(400, quote(CLIENT_TOKEN, safe="")), *_on_file(faults.Stall(), faults.Redirect())],
    EntityType.RESERVATION: [
        _refused(400, _basic("a", ACCESS_TOKEN)),
        *_on_file(faults.Redirect(location=f"http://127.0.0.1:1/files/gone?sig={LINK_CANARY}&x=1")),
    ],
    EntityType.CUSTOMER: [
        _refused(400, json.dumps(json.dumps(CLIENT_TOKEN))),
        *_on_file(faults.Redirect(location=f"http://in valid:port/files/x?sig={LINK_CANARY}")),
    ],
    EntityType.COMPANY: [_refused(401, TOKENS)],
    EntityType.BILL: [_refused(403, _basic("bc", CLIENT_TOKEN).replace("+", "-"))],
    EntityType.AVAILABILITY_ADJUSTMENT: [
        FaultRule(on="add", action=faults.Status(code=503, body="html", message=TOKENS)),
        *_on_file(faults.Status(code=404, message=f"<Error>{TOKENS} sig={LINK_CANARY}</Error>"), faults.Gzip()),
        FaultRule(on="get_all", action=faults.FailExport(), skip=1),
    ],
    EntityType.AVAILABILITY_BLOCK: _on_file(faults.Redirect(location=f"ftp://elsewhere/files/x?sig={LINK_CANARY}")),
    EntityType.RESOURCE_BLOCK: [
        FaultRule(
            on="add",
            action=faults.Status(code=400, message=f"See https://blobs.example/1.jsonl?sig={LINK_CANARY}&se=2"),
        ),
        FaultRule(on="get_all", action=faults.UnknownStatus(status=f"Gone at {TOKENS}")),
    ],
}
STOPPED = {EntityType.COMPANY, EntityType.BILL, EntityType.AVAILABILITY_BLOCK}


async def test_a_cycle_full_of_faults_with_all_loggers_at_debug_shows_no_secret(
    kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    simulated = SimulatorSettings(
        pending_seconds=0,
        processing_seconds=0,
        client_token=CLIENT_TOKEN,
        access_tokens=(ACCESS_TOKEN,),
        entities=50,
    )
    pages: dict[str, bytes] = {}
    async with SigningSimulator(simulated) as simulator:
        for kind, rules in TROUBLE.items():
            for rule in rules:
                simulator.add_fault(
                    FaultRule(on=rule.on, action=rule.action, skip=rule.skip, times=rule.times, entity_type=kind)
                )
        (tmp_path / "config.toml").write_text(
            _settings(kafka.bootstrap_servers, prefix, simulator.url, TROUBLE), encoding="utf-8"
        )
        (tmp_path / "access-token").write_text(ACCESS_TOKEN + "\n", encoding="utf-8")
        environment = {"CLIENT_TOKEN": CLIENT_TOKEN, "PYTHONASYNCIODEBUG": "1"}
        # Without uvloop, which says less.
        program = ("-c", "import sys; sys.modules['uvloop'] = None; from streamer.cli import main; main()")
        arguments = ("run", "--log-level", "debug")
        async with started(*arguments, cwd=tmp_path, environment=environment, program=program) as daemon:
            await _until_at_rest(daemon, simulator, pages)
            assert await daemon.terminate() == 0
            pages["stdout and stderr"] = daemon.output
        struck = [state.struck for state in simulator.fault_states()]
        assert 0 not in struck, simulator.fault_states()
        seen = await see(kafka.bootstrap_servers, prefix)

    for name, records in seen.published.records.items():
        pages[f"topic {name}"] = b"\n".join(
            b" ".join((r.key or b"", r.value or b"", *(n.encode() + b"=" + v for n, v in r.headers))) for r in records
        )
    # Without these the search would have had nothing to find.
    said = pages["stdout and stderr"]
    for logger in (b'"logger": "aiokafka', b'"logger": "asyncio"', b'"logger": "streamer', b'"level": "debug"'):
        assert logger in said, logger
    assert b"export_blocked" in pages[f"topic {prefix}.exports"]
    assert b"No access for" in pages["/api/streams"]
    assert b"No access for" in pages[f"topic {prefix}.checkpoints"]
    assert len(simulator.signatures) > 20

    assert leaks([CLIENT_TOKEN, ACCESS_TOKEN, LINK_CANARY, *simulator.signatures], pages) == []
    # Nor any query of a link, whatever it is called.
    for place, content in pages.items():
        assert b"sig=" not in content.replace(b"sig=***", b""), place


async def _until_at_rest(daemon: Process, simulator: Simulator, pages: dict[str, bytes]) -> None:
    """Until each stream is where its faults lead it; every page is read again and again on the way."""
    deadline = time.monotonic() + PATIENCE
    while True:
        for path in PAGES:
            pages[path] = pages.get(path, b"") + (await daemon.page(path))[1]
        rows = {row["entity_type"]: row for row in await daemon.streams()}
        if all(
            rows[kind]["phase"] == "stopped" if kind in STOPPED else rows[kind]["last_snapshot"] for kind in TROUBLE
        ):
            return
        # A download that was to stall for a minute has shown what it can.
        simulator.release()
        assert time.monotonic() < deadline, {kind: (row["phase"], row["error"]) for kind, row in rows.items()}
        await asyncio.sleep(0.2)


async def test_the_password_of_kafka_is_shown_by_no_failure_to_log_in(
    kafka: Kafka, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in environment():
        monkeypatch.delenv(name)
    # The broker's listener knows no SASL: whatever is said about that must not name what was tried.
    login = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "streamer"}
    password = {"env": "PASSWORD"}
    async with SigningSimulator(
        SimulatorSettings(client_token=CLIENT_TOKEN, access_tokens=(ACCESS_TOKEN,))
    ) as simulator:
        text = _settings(
            kafka.bootstrap_servers, prefix, simulator.url, [EntityType.BILL], **login, sasl_password=password
        )
        (tmp_path / "config.toml").write_text(text, encoding="utf-8")
        (tmp_path / "access-token").write_text(ACCESS_TOKEN, encoding="utf-8")
        secrets = {"CLIENT_TOKEN": CLIENT_TOKEN, "PASSWORD": PASSWORD}
        said = await streamer("--log-level", "debug", "check", cwd=tmp_path, environment=secrets)
    assert said.code == 1
    assert "FAIL kafka" in said.stdout
    assert "ok   mews alpine" in said.stdout
    assert leaks([PASSWORD, CLIENT_TOKEN, ACCESS_TOKEN], {"all": (said.stdout + said.stderr).encode()}) == []
