"""How long it takes to touch fresh memory: ``python -m benchmarks.fresh_memory GB``, in milliseconds for 4 MB.

A virtual machine may hand memory that is free back to its host, and then whoever touches it next waits until the host
has given it out again. That counts as CPU time of whoever waits, so no figure tells it from work.
"""

from __future__ import annotations

import mmap
import sys
import time
from statistics import median, quantiles

_STEP = 4 * 2**20


def milliseconds(size: int) -> list[float]:
    """For each 4 MB of so many bytes."""
    fresh = mmap.mmap(-1, size)
    took = []
    for start in range(0, size, _STEP):
        began = time.perf_counter()
        for place in range(start, start + _STEP, mmap.PAGESIZE):
            fresh[place] = 1
        took.append((time.perf_counter() - began) * 1000)
    return took


if __name__ == "__main__":
    took = milliseconds(int(sys.argv[1]) * 2**30)
    sys.stdout.write(
        f"median {median(took):.1f}, one in a hundred {quantiles(took, n=100)[-1]:.1f}, worst {max(took):.1f}\n"
    )
