"""glibc is told to keep large buffers, and another C library is left in peace."""

from __future__ import annotations

import ctypes
import platform

import pytest

from streamer.service import allocator


def test_glibc_takes_both_thresholds() -> None:
    if platform.libc_ver()[0] != "glibc":
        assert not allocator.keep_large_buffers()
        return

    assert allocator.keep_large_buffers()


def test_without_mallopt_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())

    assert not allocator.keep_large_buffers()
