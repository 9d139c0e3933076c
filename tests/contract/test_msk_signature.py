"""Amazon's own signer, as far as it goes without Amazon."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from streamer.kafka.login import MskSignature, TokenError


async def test_amazons_signature_is_made_of_the_credentials_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-canary")
    provider = MskSignature("eu-central-1")
    token = await provider.token()
    address = urlsplit(urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    assert address.netloc == "kafka.eu-central-1.amazonaws.com"
    query = parse_qs(address.query)
    assert query["Action"] == ["kafka-cluster:Connect"]
    assert query["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - signed) < timedelta(minutes=1)
    # The same one for every connection, as long as it is good.
    assert await provider.token() == token


async def test_without_credentials_there_is_no_token_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TokenError, match="no token by AWS credentials: "):
        await MskSignature("eu-central-1").token()
