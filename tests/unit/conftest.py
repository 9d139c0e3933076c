from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.unit.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Hours pass in milliseconds, and whoever opens a socket fails."""
    return {"virtual": VirtualLoop}
