"""Bytes of a file in, Kafka record batches by partition out; and such batches in, what is compared of them out."""

from collections.abc import Callable, Sequence

__version__: str

class Batch:
    """Records of one partition, encoded; a buffer of all its bytes, of which the first 61 are the header."""

    @property
    def records(self) -> int: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def replace_records(self, records: bytes, /) -> None:
        """Put these bytes, compressed, in the place of the records. Raises ``BufferError`` while it is read."""

    def seal(self, attributes: int, timestamp: int, producer_id: int, epoch: int, sequence: int, /) -> None:
        """Write the header, checksum included. Raises ``BufferError`` while it is read."""

class Gatherer:
    """Takes the bytes of one file from a cut on, and hands out batches of whatever lines are whole.

    ``headers`` are those of every record, where the byte at which its line starts is appended to the value of
    ``ce_id``. ``judge`` is called for each line that isn't plainly good, with its bytes (at most ``max_line_bytes``),
    its length without line ending, its number from 1 and its offset in bytes; it returns the key of the record that the
    line becomes all the same and its ``UpdatedUtc`` in microseconds (any number where lines aren't compared), or None.
    After an error it is of no use any more.

    With a ``share`` of the partitions, first and end (exclusive), lines are compared: those of other partitions are
    counted and left out, and of the others ``news`` says which become records, for all lines of a partition in a chunk
    at once. It is given the partition and what is known of the lines in columns, numbers in the machine's own order:
    64 bits of the key's digest, 32 others, the digest of key and value, and ``UpdatedUtc``; it returns a byte a line, 0
    or 1.
    """

    def __init__(
        self,
        *,
        offset: int,
        lines: int,
        partitions: int,
        headers: Sequence[tuple[str, bytes]],
        max_line_bytes: int,
        record_room: int,
        batch_bytes: int,
        judge: Callable[[bytes, int, int, int], tuple[bytes, int] | None],
        share: tuple[int, int] | None = None,
        news: Callable[[int, bytes, bytes, bytes, bytes], bytes] | None = None,
    ) -> None: ...
    @property
    def offset(self) -> int: ...
    @property
    def lines(self) -> int: ...
    def feed(self, chunk: bytes, /) -> None: ...
    def finish(self) -> None: ...
    def take(self) -> tuple[list[tuple[int, int, int, list[Batch]]], int, int, int]:
        """For each partition that got records: number, how many, digest, batches.

        And how many lines were blank, how many were no news, how many belong to other shares.
        """

class ReadBack:
    """Takes batches of one partition, and hands out what is compared of the records in them.

    Whose records count is as in ``streamer.kafka.decoding.Source``. ``updated`` is called for each value whose
    ``UpdatedUtc`` isn't plain, and returns it in microseconds.
    """

    def __init__(self, *, source: bytes, or_none: bool, gives_way: bool, updated: Callable[[bytes], int]) -> None: ...
    def __len__(self) -> int: ...
    def add(self, batch: bytes, records: bytes, from_offset: int, /) -> bool:
        """Read a batch: all of its bytes, those after its header uncompressed, and the first offset that counts.

        False, and nothing is read, where something in it isn't plainly good.
        """

    def take(self) -> tuple[list[bytes], tuple[bytes, bytes, bytes, bytes], bytes, bytes, int]:
        """Keys; columns as ``news`` is given them; microseconds and a byte for a tombstone, 0 or 1, of each record.

        And how many records between them are of others.
        """
