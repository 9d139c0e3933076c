"""The search for secrets: in whatever form they were written down, and in pieces."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote

WINDOW = 16
"""A leak of so many letters of a secret in a row, and twice that at most, is found."""


def forms_of(secret: str) -> dict[str, str]:
    """The ways in which a secret may have been written down."""
    as_json = json.dumps(secret)[1:-1]
    forms = {
        "as it is": secret,
        "JSON": as_json,
        "JSON with other letters": json.dumps(secret, ensure_ascii=False)[1:-1],
        "JSON in JSON": json.dumps(as_json)[1:-1],
        "repr": repr(secret)[1:-1],
        "repr of bytes": repr(secret.encode())[2:-1],
        "in a URL": quote(secret, safe=""),
        "in a path": quote(secret),
        "in a form": quote_plus(secret),
        "in a URL in a URL": quote(quote(secret, safe=""), safe=""),
        "decoded": unquote(secret),
        "HTML": html.escape(secret),
        "hex": secret.encode().hex(),
    }
    for before in range(3):
        # Three ways to fall into step; the signs at both ends belong to the neighbours too.
        encoded = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        forms[f"base64, {before} bytes in"] = encoded[4:-4]
        forms[f"base64 for URLs, {before} bytes in"] = encoded[4:-4].replace("+", "-").replace("/", "_")
    return forms


def leaks(secrets: Iterable[str], places: dict[str, bytes]) -> list[str]:
    """Where some form of a secret, or a piece of it, can be read; never the secret itself."""
    pieces: dict[bytes, str] = {}
    for number, secret in enumerate(secrets):
        for form, text in forms_of(secret).items():
            folded = text.lower().encode()
            for start in range(0, len(folded) - WINDOW + 1, WINDOW // 2):
                pieces.setdefault(folded[start : start + WINDOW], f"secret {number} {form}")
    found = set()
    for place, content in places.items():
        folded = content.lower()
        for start in range(len(folded) - WINDOW + 1):
            if (piece := folded[start : start + WINDOW]) in pieces:
                found.add(f"{pieces[piece]} in {place}")
    return sorted(found)
