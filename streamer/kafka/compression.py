"""Compresses batches with zstd at level 1; a seam to aiokafka's private parts, since it offers no levels.

aiokafka compresses at level 3, on the event loop. For entities level 1 makes batches as small (6.4 times against 6.2 on
lifelike lines), takes two thirds of the time there and a third of it on lines that compress badly (measured, ms per
MiB: 1.6 against 2.2, and 2.1 against 5.9). A test fails if a new aiokafka compresses in another place.
"""

from __future__ import annotations

import sys
from typing import Any

from aiokafka.codec import zstd_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder

ZSTD_LEVEL = 1


def compress_quickly() -> None:
    """Have every zstd batch of this process compressed at ``ZSTD_LEVEL``. Harmless when called again."""
    # Of its two implementations aiokafka takes the compiled one where it can; both look the function up here.
    module = sys.modules[DefaultRecordBatchBuilder.__module__]
    module.zstd_encode = _zstd_encode  # type: ignore[attr-defined]


def _zstd_encode(payload: Any) -> Any:
    return zstd_encode(payload, ZSTD_LEVEL)
