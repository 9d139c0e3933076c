"""Settings files to try, for the tests of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import Config, load_config
from streamer.errors import ConfigError

ENVIRON = {"MEWS_CLIENT_TOKEN": "client-canary", "MEWS_ACCESS_TOKEN": "access-canary"}
CONNECTION = """
[[connections]]
name = "alpine-hotels"
platform_url = "https://api.mews.com"
client_token = { env = "MEWS_CLIENT_TOKEN" }
access_token = { env = "MEWS_ACCESS_TOKEN" }
"""


def connection(**changed: str) -> str:
    """The connection's table with other lines for some keys."""
    lines = dict(line.split(" = ", 1) for line in CONNECTION.strip().splitlines()[1:])
    return "[[connections]]\n" + "".join(f"{k} = {v}\n" for k, v in {**lines, **changed}.items())


def load(directory: Path, text: str, **more: str) -> Config:
    """The settings in a file of this text, as ``config.toml`` of the directory."""
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ={**ENVIRON, **more})


def refusal(directory: Path, text: str, **more: str) -> str:
    """What is said about a file that can't be used: one line, and no secret in it."""
    with pytest.raises(ConfigError) as caught:
        load(directory, text, **more)
    message = str(caught.value)
    assert "\n" not in message
    assert "canary" not in message
    return message
