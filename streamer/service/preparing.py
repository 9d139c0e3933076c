"""What is done to the lines of an export before they are published: held against their schema, veiled, or kept out.

The first two are off unless the settings ask for them, and nobody is kept out who was not erased: mostly there is no
preparation at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import structlog

from streamer.config import Config
from streamer.config_values import suggestion
from streamer.contract.entities import ENTITIES
from streamer.contract.shape import Drift, Shape
from streamer.core.blocks import Preparation, Prepared
from streamer.core.checkpoint import Erased
from streamer.core.erasing import Erasure
from streamer.core.records import Reason
from streamer.core.veil import Veil
from streamer.errors import ConfigError
from streamer.metrics import StreamMetrics
from streamer.model import EntityType, ExportId, StreamKey

log = structlog.get_logger()


class LineRules:
    """How the lines of a stream are prepared. ``shape`` and ``veil`` are None where there is nothing of the kind."""

    def __init__(
        self, *, shape: Shape | None, unfit_is_dead: bool, veil: Veil | None, erasure: Erasure | None = None
    ) -> None:
        self.erasure = erasure
        self.shape = shape
        self.unfit_is_dead = unfit_is_dead
        self.veil = veil
        self._latest: LinePreparation | None = None

    def for_export(self, stream: StreamKey, export_id: ExportId, metrics: StreamMetrics) -> LinePreparation | None:
        """The preparation of one export's lines; None where they are published as they come."""
        if self.shape is None and self.veil is None:
            return None
        if self._latest is None or self._latest.export_id != export_id:
            self._latest = LinePreparation(self, stream, export_id, metrics)
        # The same one again after an interruption, so that nothing is logged twice.
        return self._latest

    def for_lines(
        self, stream: StreamKey, export_id: ExportId, metrics: StreamMetrics, erased: Mapping[str, Erased]
    ) -> Preparation | None:
        """The same, with those kept out who were erased. They have to be knowable: ``erasing.why_unknowable``."""
        preparation = self.for_export(stream, export_id, metrics)
        if not erased or self.erasure is None:
            return preparation
        return KeepingOut(self.erasure, erased, preparation)


class LinePreparation:
    """Prepares the lines of one export. Drift is counted for every line, and logged once for each field."""

    def __init__(self, rules: LineRules, stream: StreamKey, export_id: ExportId, metrics: StreamMetrics) -> None:
        self._rules = rules
        self._stream = stream
        self.export_id = export_id
        self._metrics = metrics
        self._logged: set[str] = set()

    def prepare(self, line: bytes) -> bytes | Reason:
        """The line, veiled; or a reason, where it doesn't fit and is to be a dead letter."""
        rules = self._rules
        if rules.shape is not None and (drifts := rules.shape.drifts(line)):
            self._tell(drifts)
            if rules.unfit_is_dead:
                return Reason.UNEXPECTED_SHAPE
        return line if rules.veil is None else rules.veil(line)

    def digest(self, line: bytes) -> str:
        """What a dead letter keeps of a line that may hold what is veiled."""
        return "" if self._rules.veil is None else self._rules.veil.digest(line)

    def _tell(self, drifts: tuple[Drift, ...]) -> None:
        for drift in drifts:
            self._metrics.drifted(drift.field, drift.path)
            if drift.path not in self._logged:
                self._logged.add(drift.path)
                log.warning(
                    "unexpected_shape",
                    stream=str(self._stream),
                    export_id=self.export_id,
                    field=drift.field,
                    path=drift.path,
                    problem=drift.problem,
                )


class KeepingOut:
    """Keeps out the lines of those who were erased, and prepares the others as they are otherwise."""

    def __init__(self, erasure: Erasure, erased: Mapping[str, Erased], others: Preparation | None) -> None:
        self._erasure = erasure
        self._erased = erased
        self._others = others

    def prepare(self, line: bytes) -> Prepared:
        """Whose line it is who was erased; else what becomes of it."""
        if kept_out := self._erasure.kept_out(line, self._erased):
            return kept_out
        return line if self._others is None else self._others.prepare(line)

    def digest(self, line: bytes) -> str:
        """A dead letter of somebody who was erased keeps nothing of the line, where it can be told whose it is."""
        if self._erasure.kept_out(line, self._erased):
            return self._erasure.hash(line)
        return "" if self._others is None else self._others.digest(line)


def line_rules(config: Config, entity_type: EntityType) -> LineRules:
    """What is done to the lines of an entity type before they are published."""
    validate = config.exports.validate
    privacy = config.entity.get(entity_type)
    veil = None
    if privacy is not None:
        _refuse_misspelt(entity_type, (*privacy.drop_fields, *privacy.hash_fields))
        key = b"" if privacy.hash_key is None else privacy.hash_key.reveal().encode()
        veil = Veil(dropped=privacy.drop_fields, hashed=privacy.hash_fields, key=key)
    erasure_key = config.exports.erasure_key
    return LineRules(
        shape=None if validate == "off" else Shape(ENTITIES[entity_type]),
        unfit_is_dead=validate == "dead_letter",
        veil=veil,
        erasure=None if erasure_key is None else Erasure(erasure_key.reveal().encode()),
    )


def _refuse_misspelt(entity_type: EntityType, fields: Iterable[str]) -> None:
    """A field that nobody knows may be a new one of Mews'; one that is nearly known would be published after all."""
    known = {field.encode_name for field in msgspec.structs.fields(ENTITIES[entity_type])}
    for field in fields:
        hint = "" if field in known else suggestion(field, known)
        if hint:
            raise ConfigError(f"entity.{entity_type}", f'there is no field "{field}" in its schema{hint}')
