"""Gather the lines of one file into blocks: what a transaction publishes, and the cut its checkpoint names.

What a newcomer would get wrong:

* Everything a record costs is spent in ``FileBlocks._gather``, the hottest loop of the product; measure
  before and after a change there, a function call more is worth 40 ns of some 1500.
* Blocks don't depend on how the bytes arrived, except in where one ends, which the caller decides by
  ``take``.
* A record is encoded into ``batches`` as it is found. Once ``append`` has raised, block and file are of no
  use any more: drop the ``Blocks`` and begin anew at the last checkpoint.
* An empty file still has a last block, without lines, because that it ended is worth a checkpoint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import msgspec
from xxhash import xxh3_64_intdigest

from streamer.core.erasing import KeptOut
from streamer.core.lines import LineCutter, Lines, LongLine, is_blank, is_utf8
from streamer.core.partitioner import SEED, murmur2
from streamer.core.record_format import EncodedHeaders
from streamer.core.records import UNREADABLE, Header, Origin, Reason, identify, why_no_record
from streamer.model import ExportId, StreamKey

_DIGEST_MASK: Final = 2**64 - 1


class Cut(msgspec.Struct, frozen=True):
    """Where the next line of a file starts: a cut never splits a line."""

    offset: int = 0
    """Bytes before it, counted from the file's start, decoded if the body was compressed."""
    line: int = 0
    """Lines before it."""


class Batches(Protocol):
    """Where records are encoded as they come; the Kafka adapter implements it."""

    def append(self, partition: int, key: bytes, value: bytes, headers: EncodedHeaders) -> None:
        """Add a record at the end of a partition. In line order; none is too large for the topic."""


B = TypeVar("B", bound=Batches)


Prepared = bytes | Reason | KeptOut
"""What becomes of a line: what is published, why it is a dead letter, or whose it is who was erased."""


class Preparation(Protocol):
    """What becomes of the lines of an export before they are published, where they aren't published as they come."""

    def prepare(self, line: bytes) -> Prepared:
        """The value to publish for a line that could be published as it is, or why it can't or may not be."""

    def digest(self, line: bytes) -> str:
        """What a dead letter keeps of its line instead of the line; nothing where it may keep the line itself."""


class Tally(msgspec.Struct, frozen=True):
    """What went into a partition: how many records, and their digest, whatever their order."""

    records: int = 0
    digest: int = 0
    """Sum modulo 2**64 of ``digest_of`` every record."""

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.records + other.records, self.digest + other.digest & _DIGEST_MASK)


def digest_of(key: bytes, value: bytes) -> int:
    """xxh3-64 over key, a zero byte and value: what a record adds to the digest of its partition."""
    return xxh3_64_intdigest(key + b"\0" + value)


class DeadLetter(msgspec.Struct, frozen=True):
    """A line that can never become a record, with its reason and position.

    ``value`` is the line, or as many of its first bytes as may be sent, or nothing where ``digest`` stands for it;
    ``length`` (bytes, without line ending) is that of the whole line. ``offset`` counts bytes from the file's start,
    ``line`` from 1.
    """

    value: bytes
    reason: Reason
    line: int
    offset: int
    length: int
    origin: Origin
    digest: str = ""

    @property
    def headers(self) -> list[Header]:
        """Made when asked for: a file of rubbish has thousands in a chunk, and few are ever sent."""
        return self.origin.dead_letter_headers(
            self.reason, line=self.line, offset=self.offset, length=self.length, digest=self.digest
        )


class Block(msgspec.Struct, Generic[B], frozen=True):
    """The lines of a file between two cuts, ready to be published: records, dead letters and blank ones."""

    file_index: int
    start: Cut
    end: Cut
    records: int
    dead_letters: tuple[DeadLetter, ...]
    blank: int
    tallies: dict[int, Tally]
    """By partition, for those that got a record."""
    batches: B
    ends_file: bool
    """Whether nothing of the file comes after ``end``."""
    unchanged: int = 0
    """Lines that the topic says already (``core.comparing``)."""
    erased: int = 0
    """Lines of entities that were erased (``core.erasing``)."""
    erased_hashes: frozenset[str] = frozenset()
    elsewhere: int = 0
    """Lines that go with another block, because the file is gathered several times over (``core.comparing``)."""

    @property
    def lines(self) -> int:
        return self.end.line - self.start.line - self.elsewhere

    @property
    def size(self) -> int:
        """Bytes of the file between the two cuts, line endings included."""
        return self.end.offset - self.start.offset


class BlockLimits(msgspec.Struct, frozen=True):
    """How large (bytes of the file) or how old (seconds) a block may become before it is published."""

    bytes: int
    seconds: float

    def is_full(self, size: int, age: float) -> bool:
        """Whether a block of this size in bytes and age in seconds should be taken."""
        return size >= self.bytes or age >= self.seconds


class FileToGather(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an export from a cut on, over how many ``partitions`` its records go, and what may weigh how much.

    ``max_line_bytes`` counts no line ending, ``max_record_bytes`` key, value, headers and what a batch needs.
    """

    export_id: ExportId
    stream: StreamKey
    index: int
    start: Cut = Cut()
    partitions: int
    max_line_bytes: int
    max_record_bytes: int
    headers: bool

    def origin(self) -> Origin:
        """What the file's records and dead letters tell of where they come from."""
        return Origin(
            export_id=self.export_id,
            stream=self.stream,
            file_index=self.index,
            headers=self.headers,
            max_record_bytes=self.max_record_bytes,
        )


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What went into a block, besides its dead letters; the words are those of ``Block``."""

    tallies: dict[int, Tally]
    blank: int
    unchanged: int = 0
    erased: int = 0
    erased_hashes: frozenset[str] = frozenset()
    elsewhere: int = 0


class Blocks(ABC, Generic[B]):
    """Takes the bytes of one file from a cut on, and hands out blocks of whatever lines are whole.

    ``feed`` every chunk, ``take`` whenever the block is large or old enough; once the file is known to be
    whole ``finish``, and ``take`` the last block, even an empty one. Memory is that of the batches, of one
    unfinished line up to ``max_line_bytes``, and of the dead letters: after every ``feed`` give up on a file
    with too many of them.
    """

    def __init__(self, file: FileToGather, new_batches: Callable[[], B]) -> None:
        self._file = file
        self._origin = file.origin()
        self._new_batches = new_batches
        self._finished = False
        self._begin(file.start)

    def _begin(self, start: Cut) -> None:
        self._start = start
        self._batches = self._new_batches()
        self._dead_letters: list[DeadLetter] = []

    @property
    def size(self) -> int:
        """Bytes of whole lines gathered in the open block; an unfinished line does not count."""
        return self._reached().offset - self._start.offset

    @property
    def is_empty(self) -> bool:
        """Whether a block taken now would leave its checkpoint where it is."""
        return self.size == 0

    @property
    def dead_letters(self) -> int:
        """How many dead letters are in the open block."""
        return len(self._dead_letters)

    @abstractmethod
    def feed(self, chunk: bytes) -> None:
        """Gather the lines that end within the next bytes of the file."""

    def finish(self) -> None:
        """The file is whole: what follows its last newline is a line too. Nothing may be fed afterwards."""
        self._end()
        self._finished = True

    def take(self) -> Block[B]:
        """Hand out what is gathered, and begin the next block, which any unfinished line will belong to."""
        end, counted = self._reached(), self._counted()
        block = Block(
            file_index=self._file.index,
            start=self._start,
            end=end,
            records=sum(tally.records for tally in counted.tallies.values()),
            dead_letters=tuple(self._dead_letters),
            blank=counted.blank,
            tallies=counted.tallies,
            batches=self._batches,
            ends_file=self._finished,
            unchanged=counted.unchanged,
            elsewhere=counted.elsewhere,
            erased=counted.erased,
            erased_hashes=counted.erased_hashes,
        )
        self._begin(end)
        return block

    @abstractmethod
    def _end(self) -> None:
        """Gather what follows the last newline."""

    @abstractmethod
    def _reached(self) -> Cut:
        """Where the next line starts."""

    @abstractmethod
    def _counted(self) -> Counted:
        """What the open block has, which is about to be taken."""

    def _bury(self, value: bytes, reason: Reason, number: int, offset: int, length: int, digest: str = "") -> None:
        """Set a line aside, or its first bytes; with a digest, that instead of the line."""
        kept = b"" if digest else value[: self._origin.dead_letter_room]
        self._dead_letters.append(DeadLetter(kept, reason, number, offset, length, self._origin, digest))


class FileBlocks(Blocks[B]):
    """``Blocks`` in Python."""

    def __init__(
        self, file: FileToGather, new_batches: Callable[[], B], *, preparation: Preparation | None = None
    ) -> None:
        self._preparation = preparation
        self._partitions = file.partitions
        self._cutter = LineCutter(offset=file.start.offset, line=file.start.line, max_line_bytes=file.max_line_bytes)
        super().__init__(file, new_batches)

    def _begin(self, start: Cut) -> None:
        super()._begin(start)
        self._records = [0] * self._partitions
        self._digests = [0] * self._partitions
        self._blank = self._erased = 0
        self._erased_hashes: set[str] = set()

    def feed(self, chunk: bytes) -> None:
        self._gather_runs(self._cutter.feed(chunk))

    def _end(self) -> None:
        self._gather_runs(self._cutter.finish())

    def _reached(self) -> Cut:
        return Cut(self._cutter.offset, self._cutter.line)

    def _counted(self) -> Counted:
        tallies = {
            partition: Tally(records, digest & _DIGEST_MASK)
            for partition, (records, digest) in enumerate(zip(self._records, self._digests, strict=True))
            if records
        }
        hashes = frozenset(self._erased_hashes)
        return Counted(tallies=tallies, blank=self._blank, erased=self._erased, erased_hashes=hashes)

    def _gather_runs(self, runs: Sequence[Lines | LongLine]) -> None:
        for run in runs:
            if isinstance(run, Lines):
                self._gather(run)
            else:
                self._bury_line(run.head, Reason.LINE_TOO_LONG, run.line, run.offset, run.length)

    def _gather(self, run: Lines) -> None:
        append, headers_at, room = self._batches.append, self._origin.encoded_headers, self._origin.record_room
        records, digests, partitions = self._records, self._digests, self._partitions
        has_returns, all_utf8 = run.has_returns, run.is_utf8
        prepare = None if self._preparation is None else self._preparation.prepare
        next_offset = run.offset
        for number, raw in enumerate(run.raw, run.line):
            offset = next_offset
            next_offset += len(raw) + 1
            line = raw[:-1] if has_returns and raw.endswith(b"\r") else raw
            try:
                key = identify(line).id.encode()
            except UNREADABLE:
                key = b""
            if not key or len(key) + len(line) > room or not (all_utf8 or is_utf8(line)):
                self._set_aside(line, number, offset)
                continue
            if prepare is not None:
                prepared = prepare(line)
                if not isinstance(prepared, bytes) or len(key) + len(prepared) > room:
                    self._set_prepared_aside(line, prepared, number, offset)
                    continue
                line = prepared
            # `partition_of` and `digest_of`, written out.
            partition = (murmur2(key, SEED) & 0x7FFFFFFF) % partitions
            digests[partition] += xxh3_64_intdigest(key + b"\0" + line)
            records[partition] += 1
            append(partition, key, line, headers_at(offset))

    def _set_aside(self, line: bytes, number: int, offset: int) -> None:
        if is_blank(line):
            self._blank += 1
        else:
            self._bury_line(line, why_no_record(line), number, offset, len(line))

    def _set_prepared_aside(self, line: bytes, prepared: Prepared, number: int, offset: int) -> None:
        """For what a line was prepared to: somebody who was erased, a reason, or a record that is too large."""
        if isinstance(prepared, KeptOut):
            self._erased += 1
            self._erased_hashes.add(prepared.hash)
            return
        reason = prepared if isinstance(prepared, Reason) else Reason.RECORD_TOO_LARGE
        self._bury_line(line, reason, number, offset, len(line))

    def _bury_line(self, line: bytes, reason: Reason, number: int, offset: int, length: int) -> None:
        digest = "" if self._preparation is None else self._preparation.digest(line)
        self._bury(line, reason, number, offset, length, digest)
