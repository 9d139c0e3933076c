"""Begins a transaction soon behind the last one; a seam to aiokafka's private parts.

After a commit the coordinator refuses the partitions of the next transaction while it writes the end of the last one,
for some milliseconds. aiokafka then sleeps for 20 before it asks again: a fifth of what a block takes.
"""

from __future__ import annotations

from aiokafka.producer import sender

ASK_AGAIN_SECONDS = 0.002
"""Between two tries."""


def begin_soon() -> None:
    """Have every transactional producer of this process ask again so soon. Harmless when called again."""
    sender.BACKOFF_OVERRIDE = ASK_AGAIN_SECONDS
