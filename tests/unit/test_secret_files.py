"""Secrets that change while we run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from streamer.logs import configure_logs, hide_for_a_while, scrub
from streamer.model import Secret
from streamer.secret_files import SecretFile
from streamer.service.renewal import LOOK_SECONDS, follow_secrets
from tests.unit.cases import cases
from tests.unit.config_files import connection, load


@pytest.fixture(autouse=True)
def no_secrets_left() -> Iterator[None]:
    yield
    configure_logs()


def test_a_file_is_taken_over_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("token-1\n")
    secret = SecretFile(path)
    assert secret.reveal() == "token-1"
    assert secret.read_again() is None
    path.write_text("token-2\n")
    assert secret.read_again() == Secret("token-1")
    assert secret.reveal() == "token-2"
    assert "token" not in repr(secret)


@cases(("content", "problem"), [(b" \n", "is empty"), (b"\xff", "is no UTF-8 text"), (None, "can't be read: No such")])
def test_a_file_of_no_use_leaves_the_value_in_place(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "token"
    path.write_text("token-1\n")
    secret = SecretFile(path, name="token")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"the file token {problem}"):
        secret.read_again()
    assert secret.reveal() == "token-1"


async def test_files_are_looked_at_every_five_seconds_and_changes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "access-token"
    path.write_text("access-canary-1")
    config = load(tmp_path, connection(access_token='{ file = "access-token" }'))
    configure_logs(secrets=config.secrets())
    renewals = []
    # What happens in the file, one after the other; and in the end nothing any more.
    writes = ["access-canary-1", "", "access-canary-2"]
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if not writes:
            raise EOFError
        path.write_text(writes.pop(0))

    with structlog.testing.capture_logs() as said, pytest.raises(EOFError):
        await follow_secrets(config, sleep=sleep, renewed=lambda: renewals.append(len(writes)))
    assert slept == [LOOK_SECONDS] * 4
    assert renewals == [0]
    assert config.connections[0].access_token.reveal() == "access-canary-2"
    assert [(line["event"], line.get("reason") or line.get("file")) for line in said] == [
        ("secret_not_renewed", "the file access-token is empty"),
        ("secret_renewed", "access-token"),
    ]
    # Also the old one: somebody may still repeat it.
    assert scrub("access-canary-1 access-canary-2") == "*** ***"


async def test_another_key_for_hashes_is_told_and_not_taken(tmp_path: Path) -> None:
    """Half of what is hashed would be hashed in another way, and who was erased would be known no more."""
    paths = [tmp_path / "hash-key", tmp_path / "erasure-key"]
    for path in paths:
        path.write_text(f"canary-of-{path.name}-32-bytes-of-it-1")
    entity = '[entity.Customer]\nhash_fields = ["Email"]\nhash_key = { file = "hash-key" }\n'
    config = load(tmp_path, f'[exports]\nerasure_key = {{ file = "erasure-key" }}\n{entity}{connection()}')
    looks = 0

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise EOFError
        for path in paths:
            path.write_text(f"canary-of-{path.name}-32-bytes-of-it-2")

    with structlog.testing.capture_logs() as said, pytest.raises(EOFError):
        await follow_secrets(config, sleep=sleep, renewed=lambda: pytest.fail("nothing was renewed"))
    assert sorted(line["reason"] for line in said if line["event"] == "secret_not_renewed") == [
        "the file erasure-key holds another key, which is taken at a start alone",
        "the file hash-key holds another key, which is taken at a start alone",
    ]
    assert [key.reveal()[-1] for key in config.hash_keys()] == ["1", "1"]


def test_of_tokens_that_come_and_go_the_last_ones_are_hidden() -> None:
    configure_logs(secrets=[Secret("lasting-canary")])
    for number in range(10):
        hide_for_a_while(Secret(f"passing-canary-{number}"))
    assert scrub("lasting-canary passing-canary-9 passing-canary-6") == "*** *** ***"
    assert scrub("passing-canary-0") == "passing-canary-0"
