"""Everything that can go wrong, as one tree divided by what to do about it.

::

    StreamerError
    ├── ConfigError              settings are wrong: one sentence with the path, exit code 2
    ├── FatalError               a person must look: exit code 1
    ├── RetriableError           the same step may succeed later: back off and try again
    │   ├── MewsUnavailableError     no answer, 5xx, 408, something that is no JSON
    │   ├── RateLimitedError         429; ``retry_after`` holds the server's wish
    │   ├── NotAskedError            the call could not leave in time, so Mews was not asked at all: ask soon
    │   ├── LinkRefusedError         a signed link has expired: fetch the export again, go on at the byte reached
    │   ├── DownloadBrokenError      a body ended or stalled too early: go on at the byte reached
    │   └── KafkaUnavailableError    no broker answers within its deadline
    │       └── RightsMissingError       the brokers refuse this user something: wait until somebody grants it
    ├── AddRejectedError         400 to ``exports/add``: most likely an export is running; wait for its end
    ├── AccessRefusedError       401, 403, 404, 410: this stream stops until a person has looked, others go on
    ├── ExportLostError          this export can't be finished: say so in an event and ask for a new one
    ├── ProducerLostError        the block's outcome is unknown or it failed: new producer, read back, go on
    │   └── FencedError              another producer (or the coordinator) has taken the shard's id or its term over
    └── NotOwnerError            the group does not confirm that this member owns the shard: step down

Adapters translate foreign exceptions at their edge, once, with ``raise ... from``. Whoever handles an error logs it,
once. No message ever holds a token or the query of a signed link.
"""

from __future__ import annotations

from collections.abc import Iterable


class StreamerError(Exception):
    """Base of all errors that streamer raises itself; never raised as such."""


class ConfigError(StreamerError):
    """The settings can't be used. ``path`` says where, as in ``connections[0].access_token``."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class FatalError(StreamerError):
    """The program can't go on; the message says what a person should do."""


class RetriableError(StreamerError):
    """The same step may succeed later. ``retry_after`` is the least wait in seconds, where the other side gave one."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class MewsUnavailableError(RetriableError):
    """Mews gave no usable answer. For ``exports/add`` this leaves open whether the export was accepted."""


class RateLimitedError(RetriableError):
    """Mews answered 429: all calls of the token hold back."""


class NotAskedError(RetriableError):
    """A call that had to leave soon or not at all did not leave. Whoever it was for knows nothing of it."""


class LinkRefusedError(RetriableError):
    """The file host refuses the signed link, most likely because its ten minutes are over."""


class DownloadBrokenError(RetriableError):
    """A download ended, stalled or contradicted itself before the file was whole."""


class KafkaUnavailableError(RetriableError):
    """Kafka did not answer within the deadline of the call."""


class RightsMissingError(KafkaUnavailableError):
    """The brokers refuse this user what ``rights`` names, such as ``DescribeConfigs on topic mews.bill``."""

    def __init__(self, rights: Iterable[str]) -> None:
        self.rights = tuple(rights)
        super().__init__(f"this user has no right to {', '.join(self.rights)}")


class AddRejectedError(StreamerError):
    """Mews answered 400 to ``exports/add``; ``reason`` is its message, which is all there is to go by."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Mews rejected the request for an export: {reason}")
        self.reason = reason


class AccessRefusedError(StreamerError):
    """Mews refuses the token, the operation or the address, and will until somebody changes that."""


class ExportLostError(StreamerError):
    """The export can't be finished any more; ``reason`` goes into the event ``export_failed``.

    With ``expired``, Mews has put its files away: the event is ``export_expired``.
    """

    def __init__(self, reason: str, *, expired: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.expired = expired


class ProducerLostError(StreamerError):
    """The shard's producer can't be used any more; what became of its last block, only the topic tells."""


class FencedError(ProducerLostError):
    """The transactional id has a new holder, or the coordinator gave the transaction up: aiokafka can't tell which.

    Or a checkpoint tells of a later term than this producer's own.
    """


class NotOwnerError(StreamerError):
    """The group coordinator does not accept an offset commit of this member for the shard."""
