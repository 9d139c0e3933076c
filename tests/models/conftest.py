from streamer.kafka.kernel_blocks import HAS_KERNEL
from tests.unit.conftest import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]

# As in `tests/unit/kafka`.
collect_ignore = [] if HAS_KERNEL else ["test_decoding.py", "test_kernel.py"]
