"""The tests of the kernel are only there where the kernel is; `test_kernel_choice.py` tells whether it should be."""

from streamer.kafka.kernel_blocks import HAS_KERNEL

collect_ignore = [] if HAS_KERNEL else ["test_kernel_blocks.py"]
