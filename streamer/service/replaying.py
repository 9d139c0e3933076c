"""Reads what a replay needs: the line that a dead letter keeps, and what the topic has said of its key since."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from streamer.core.checkpoint import Checkpoint
from streamer.core.erasing import KeptOut, why_unknowable
from streamer.core.letters import Letter, still_refused
from streamer.core.partitioner import partition_of
from streamer.core.records import Header, Origin, Reason, identify, replay_headers, size_of
from streamer.core.replaying import Said, why_too_late
from streamer.core.signals import Replay, SignalError
from streamer.kafka.scanning import TopicScanner
from streamer.metrics import StreamMetrics
from streamer.model import ExportId, StreamKey
from streamer.service.dead_letters import letter_in
from streamer.service.preparing import LineRules


class ReplaySettings(msgspec.Struct, frozen=True):
    """Where letters are and where records go, how many partitions each has, and how large either may be."""

    letters: str
    letters_partitions: int
    topic: str
    topic_partitions: int
    max_line_bytes: int
    max_record_bytes: int
    headers: bool


class Line(msgspec.Struct, frozen=True):
    """A line that may become a record, and the record that it becomes."""

    ce_id: str
    partition: int
    partitions: int
    key: bytes
    value: bytes
    headers: list[Header]


class Replaying:
    """The dead letters of one stream, for replaying them."""

    def __init__(
        self,
        key: StreamKey,
        *,
        open_scanner: Callable[[], AbstractAsyncContextManager[TopicScanner]],
        settings: ReplaySettings,
        rules: LineRules,
        metrics: StreamMetrics,
    ) -> None:
        self._key = key
        self._open_scanner = open_scanner
        self.settings = settings
        self._rules = rules
        self._metrics = metrics

    async def line(self, checkpoint: Checkpoint, signal: Replay, *, at: int) -> Line:
        """The line that the signal wants published, which is at this offset.

        Raises ``SignalError`` where it can't become a record, or not any more; ``KafkaUnavailableError``.
        """
        async with self._open_scanner() as scanner:
            letter, value = await self._letter(scanner, signal)
            line = self._line(checkpoint, letter, value, signal=at)
            said = await self._said(scanner, line)
        if why := why_too_late(letter.ce_id, line.value, int(letter.at.timestamp() * 1000), said):
            raise SignalError(why)
        return line

    async def _letter(self, scanner: TopicScanner, signal: Replay) -> tuple[Letter, bytes]:
        settings, record = self.settings, None
        if signal.partition < settings.letters_partitions:
            record = await scanner.record(settings.letters, signal.partition, signal.offset)
        if record is None or record.key != str(self._key).encode():
            raise SignalError(f"no dead letter of this stream is at {signal.partition}/{signal.offset}")
        letter = letter_in(record)
        if letter.ce_id != signal.ce_id:
            raise SignalError(f"the dead letter at {signal.partition}/{signal.offset} is another one")
        return letter, record.value or b""

    def _line(self, checkpoint: Checkpoint, letter: Letter, value: bytes, *, signal: int) -> Line:
        """The record as it would have been in its export, by the settings as they are now."""
        settings, export_id = self.settings, ExportId(letter.export_id)
        if why := still_refused(letter, value, max_line_bytes=settings.max_line_bytes):
            raise SignalError(why)
        if why := why_unknowable(checkpoint, self._rules.erasure):
            raise SignalError(why)
        if rules := self._rules.for_lines(self._key, export_id, self._metrics, checkpoint.erased):
            prepared = rules.prepare(value)
            if isinstance(prepared, KeptOut):
                raise SignalError("the entity was erased")
            if isinstance(prepared, Reason):
                raise SignalError(prepared.message)
            value = prepared
        origin = Origin(
            export_id=export_id,
            stream=self._key,
            file_index=letter.file,
            headers=settings.headers,
            max_record_bytes=settings.max_record_bytes,
        )
        key, usual = identify(value).id.encode(), origin.record_headers(letter.offset)
        headers = replay_headers(usual, signal)
        if len(key) + len(value) + size_of(headers) - size_of(usual) > origin.record_room:
            raise SignalError(Reason.RECORD_TOO_LARGE.message)
        partitions = checkpoint.partitions or settings.topic_partitions
        return Line(
            ce_id=letter.ce_id,
            partition=partition_of(key, partitions),
            partitions=partitions,
            key=key,
            value=value,
            headers=headers,
        )

    async def _said(self, scanner: TopicScanner, line: Line) -> Said | None:
        """What the topic has of the line's key, whoever wrote it: all of its partition is read for it."""
        newest, ce_ids = None, set()
        bounds = await scanner.bounds(self.settings.topic, line.partitions)
        ends = {line.partition: bounds[line.partition][1]}
        async for _, records in scanner.records(self.settings.topic, ends):
            for record in records:
                if record.key == line.key:
                    newest = record
                    ce_ids.add(dict(record.headers).get("ce_id", b"").decode(errors="replace"))
        if newest is None:
            return None
        return Said(newest.value, newest.timestamp, frozenset(ce_ids))
