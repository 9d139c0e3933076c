"""Every way to log in, against a broker that lets nobody in otherwise."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest
from aiohttp import BasicAuth, web
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from streamer.config import load_config
from streamer.sandbox.faults import FaultRule, Status
from streamer.sandbox.local_kafka import LocalKafka
from streamer.sandbox.simulator import Simulator
from streamer.service.check import Verdict, findings
from streamer.topic_specs import topic_specs
from tests.authority import Authority
from tests.processes import PATIENCE, Process, Said, started, streamer
from tests.replica import INSTANT
from tests.secured import environment
from tests.security import OBSERVER, PASSWORDS, USER, Right, grant, revoke, rights_of_the_daemon
from tests.settings_file import Table, settings_file

SHORT_LOGIN = "SCRAM-SHA-256"
"""The way to log in with which the broker cuts a connection after two seconds (KIP-368)."""

TLS = {"security_protocol": "SSL"}


def by_password(mechanism: str, *, user: str = USER, protocol: str = "SASL_SSL") -> dict[str, object]:
    """The settings of ``[kafka]`` for that."""
    return {
        "security_protocol": protocol,
        "sasl_mechanism": mechanism,
        "sasl_username": user,
        "sasl_password": {"file": "password"},
    }


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    security = authority.broker({f"listener.name.sasl_ssl.{SHORT_LOGIN.lower()}.connections.max.reauth.ms": "2000"})
    # As Kafka is by default: what is only asked for is made, in the broker's own way.
    lenient = {"auto.create.topics.enable": "true"}
    with LocalKafka(tmp_path_factory.mktemp("secured"), security=security, broker_properties=lenient) as broker:
        yield broker


@pytest.fixture(scope="module")
def admin(authority: Authority, broker: LocalKafka) -> AdminClient:
    return AdminClient(authority.observer(broker.bootstrap_servers))


@pytest.fixture(autouse=True)
def no_other_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of each test hold, also where those of all others are secured."""
    for name in environment():
        monkeypatch.delenv(name)


@pytest.fixture
async def mews() -> AsyncIterator[Simulator]:
    tokens = (*INSTANT.access_tokens, "another-access-token")
    async with Simulator(msgspec.structs.replace(INSTANT, access_tokens=tokens)) as simulator:
        yield simulator


CLIENT_TOKEN = {"MEWS_CLIENT_TOKEN": INSTANT.client_token}


class Desk:
    """A folder with settings, from which commands are run."""

    def __init__(self, directory: Path, prefix: str, mews: Simulator) -> None:
        self.directory = directory
        self.prefix = prefix
        self.mews = mews
        (directory / "access-token").write_text(INSTANT.access_tokens[0])

    def write(self, *, servers: str, kafka: Table) -> None:
        text = settings_file(
            kafka={"bootstrap_servers": [servers], **kafka},
            topics={"prefix": self.prefix, "partitions": 2},
            exports={"poll_interval": "100ms", "snapshot_interval": "1s", "update_interval": "off"},
            connections=[
                {
                    "name": "alpine",
                    "platform_url": self.mews.url,
                    "client_token": {"env": "MEWS_CLIENT_TOKEN"},
                    "access_token": {"file": "access-token"},
                    "entity_types": ["Bill"],
                }
            ],
        )
        (self.directory / "config.toml").write_text(text, encoding="utf-8")

    async def run(self, *arguments: str, servers: str, kafka: Table) -> Said:
        """A command with these settings, to its end."""
        self.write(servers=servers, kafka=kafka)
        return await streamer(*arguments, cwd=self.directory, environment=CLIENT_TOKEN)


@pytest.fixture
def desk(tmp_path: Path, prefix: str, mews: Simulator) -> Desk:
    (tmp_path / "password").write_text(PASSWORDS[USER] + "\n")
    return Desk(tmp_path, prefix, mews)


@asynccontextmanager
async def token_server(authority: Authority) -> AsyncIterator[str]:
    """Gives out tokens to the one client that it knows (RFC 6749, section 4.4)."""

    async def give(request: web.Request) -> web.Response:
        login = BasicAuth.decode(request.headers["Authorization"])
        form = parse_qs((await request.read()).decode())
        known = (login.login, login.password) == ("streamer-client", "client-secret-canary")
        if not known or form != {"grant_type": ["client_credentials"], "scope": ["kafka"]}:
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response({"access_token": authority.token(USER), "token_type": "Bearer", "expires_in": 3600})

    app = web.Application()
    app.router.add_post("/oauth2/token", give)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/oauth2/token"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("listener", "kafka"),
    [
        ("SSL", TLS),
        ("MUTUAL", {**TLS, "ssl_cert_file": "client.pem"}),
        ("SASL_SSL", by_password("PLAIN")),
        ("SASL_SSL", by_password("SCRAM-SHA-256")),
        ("SASL_SSL", by_password("SCRAM-SHA-512")),
        ("SASL_PLAINTEXT", by_password("SCRAM-SHA-512", protocol="SASL_PLAINTEXT")),
    ],
    ids=["ssl", "mutual-tls", "plain", "scram-256", "scram-512", "scram-without-tls"],
)
async def test_an_export_is_published_to_a_broker_that_wants(
    listener: str, kafka: Table, desk: Desk, broker: LocalKafka, authority: Authority, admin: AdminClient
) -> None:
    grant(admin, rights_of_the_daemon(desk.prefix))
    authority.certificate(name=USER).rename(desk.directory / "client.pem")
    if listener != "SASL_PLAINTEXT":
        kafka = trusting(authority, kafka)
    said = await desk.run("once", servers=broker.bootstrap_for(listener), kafka=kafka)
    assert said.code == 0, said
    assert_published(admin, desk.prefix)


def trusting(authority: Authority, kafka: Table) -> Table:
    """With the certificate of whoever has signed the broker's."""
    return {**kafka, "ssl_ca_file": str(authority.ca_file)}


def assert_published(admin: AdminClient, prefix: str) -> None:
    """The topics are there, and as streamer makes them."""
    topics = admin.list_topics(timeout=30).topics
    assert len(topics[f"{prefix}.bill"].partitions) == 2
    assert len(topics[f"{prefix}.checkpoints"].partitions) == 16


def oauth(url: str, authority: Authority, file: str = "client-secret") -> Table:
    login = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "oauth_token_url": url,
        "oauth_client_id": "streamer-client",
        "oauth_client_secret": {"file": file},
        "oauth_scope": "kafka",
    }
    return trusting(authority, login)


async def test_an_export_is_published_with_tokens_of_an_oauth_server(
    desk: Desk, broker: LocalKafka, authority: Authority, admin: AdminClient
) -> None:
    grant(admin, rights_of_the_daemon(desk.prefix))
    (desk.directory / "client-secret").write_text("client-secret-canary")
    (desk.directory / "wrong-secret").write_text("wrong-secret-canary")
    async with token_server(authority) as url:
        said = await desk.run("once", servers=broker.bootstrap_servers, kafka=oauth(url, authority))
        assert said.code == 0, said
        assert_published(admin, desk.prefix)

        refused = await desk.run(
            "--log-level",
            "debug",
            "check",
            servers=broker.bootstrap_servers,
            kafka=oauth(url, authority, "wrong-secret"),
        )
        assert refused.code == 1
        assert "status 401 (kafka.oauth_token_url)" in refused.stdout
        for text in (said.stdout, said.stderr, refused.stdout, refused.stderr):
            assert "canary" not in text
            assert "eyJ" not in text


@pytest.mark.parametrize(
    ("listener", "kafka", "why"),
    [
        ("MUTUAL", TLS, "Connection at 127.0.0.1"),
        ("SASL_SSL", by_password("SCRAM-SHA-512", user=OBSERVER), "invalid credentials"),
    ],
    ids=["no-certificate", "another's-password"],
)
async def test_who_does_not_log_in_gets_nowhere_and_is_told(
    listener: str, kafka: Table, why: str, desk: Desk, broker: LocalKafka, authority: Authority
) -> None:
    said = await desk.run("check", servers=broker.bootstrap_for(listener), kafka=trusting(authority, kafka))
    assert said.code == 1
    (line,) = [line for line in said.stdout.splitlines() if line.startswith("FAIL")]
    assert line.startswith("FAIL kafka 127.0.0.1")
    assert why in line
    assert "canary" not in said.stdout + said.stderr


def test_the_rights_that_are_documented_are_those_that_are_tested() -> None:
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
    line = re.compile(r"^\$acls --operation (\w+) --([a-z-]+) (\S+)( --resource-pattern-type prefixed)?$", re.MULTILINE)
    documented = [
        (operation, kind.replace("-", " "), f"{name}*" if prefixed else name)
        for operation, kind, name, prefixed in line.findall(text)
    ]
    assert documented == rights_of_the_daemon("mews")


async def test_each_right_that_is_missing_is_named_and_those_documented_are_enough(
    desk: Desk, broker: LocalKafka, authority: Authority, admin: AdminClient
) -> None:
    kafka = trusting(authority, by_password("SCRAM-SHA-512"))
    desk.write(servers=broker.bootstrap_servers, kafka=kafka)
    config = load_config(desk.directory / "config.toml", environ=CLIENT_TOKEN)

    async def missing() -> set[str]:
        """What ``streamer check`` has to say against it, in the process of the test."""
        found = [finding async for finding in findings(config) if finding.verdict is Verdict.FAIL]
        assert all(finding.what == "rights" for finding in found), found
        return {finding.result.removeprefix("missing: ") for finding in found}

    prefix, rights = desk.prefix, rights_of_the_daemon(desk.prefix)
    grant(admin, rights)
    assert await missing() == set()
    assert not [name for name in admin.list_topics(timeout=30).topics if name.startswith(prefix)]

    async def without(right: Right) -> set[str]:
        revoke(admin, [right])
        try:
            return await missing()
        finally:
            grant(admin, [right])

    # Before there are topics, it matters that they can be made.
    making = {right[:2]: right for right in rights}
    topics = [spec.name for spec in topic_specs(config)]
    assert await without(making["Create", "topic"]) == {f"Create topic {topic}" for topic in topics}
    assert await without(making["DescribeConfigs", "cluster"]) == {
        "DescribeConfigs cluster (or set topics.replication_factor)"
    }

    said = await desk.run("once", servers=broker.bootstrap_servers, kafka=kafka)
    assert said.code == 0, said

    # And then everything else does.
    for operation in ("Read", "Write", "DescribeConfigs"):
        assert await without(making[operation, "topic"]) == {f"{operation} topic {topic}" for topic in topics}, (
            operation
        )
    assert await without(making["Read", "group"]) == {f"Read group {prefix}.streamer"}
    assert await without(making["Write", "transactional id"]) == {f"Write transactional id {prefix}.streamer.check"}
    assert await missing() == set()


async def test_a_running_daemon_takes_over_new_passwords_and_tokens(
    desk: Desk, broker: LocalKafka, authority: Authority, admin: AdminClient
) -> None:
    """Of a user whose connections the broker cuts every two seconds, so that each has to log in anew."""
    user, path = "rotating", desk.directory / "password"
    set_password(admin, user, "password-canary-1")
    path.write_text("password-canary-1")
    grant(admin, rights_of_the_daemon(desk.prefix), user=user)
    desk.write(servers=broker.bootstrap_servers, kafka=trusting(authority, by_password(SHORT_LOGIN, user=user)))
    async with started("run", cwd=desk.directory, environment=CLIENT_TOKEN) as daemon:
        await exports_completed(daemon, desk.mews, 2)

        set_password(admin, user, "password-canary-2")
        path.write_text("password-canary-2")
        await daemon.until_logged("secret_renewed")
        # Longer than any connection lasts that was opened with the old one.
        await exports_completed(daemon, desk.mews, len(desk.mews.api.exports) + 4)

        # And Mews no longer knows the token.
        desk.mews.add_fault(FaultRule(on="add", action=Status(code=401)))
        await until(daemon, "stopped")
        before = len(desk.mews.api.exports)
        (desk.directory / "access-token").write_text("another-access-token")
        await exports_completed(daemon, desk.mews, before + 1)
        assert list(desk.mews.api.exports.values())[before].access_token == "another-access-token"

        assert await daemon.terminate() == 0
        assert b"canary" not in daemon.output
        renewed = [line["file"] for line in daemon.logged("secret_renewed")]
        assert renewed == ["password", "access-token"]


def set_password(admin: AdminClient, user: str, password: str) -> None:
    change = UserScramCredentialUpsertion(
        user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), password.encode()
    )
    for done in admin.alter_user_scram_credentials([change]).values():
        done.result(30)


async def exports_completed(daemon: Process, mews: Simulator, count: int) -> None:
    """Wait until the daemon has asked for so many exports, and is done with all but the last."""
    deadline = time.monotonic() + PATIENCE
    while len(mews.api.exports) <= count:
        assert time.monotonic() < deadline, daemon.output.decode()
        await asyncio.sleep(0.05)


async def until(daemon: Process, phase: str) -> None:
    """Wait until the only stream is in a phase."""
    deadline = time.monotonic() + PATIENCE
    while (await daemon.streams())[0]["phase"] != phase:
        assert time.monotonic() < deadline, daemon.output.decode()
        await asyncio.sleep(0.05)
