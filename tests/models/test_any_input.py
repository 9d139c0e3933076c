"""Whatever comes from outside: a value of ours or an error of ours, and never anything else.

Lines of files against Python's own JSON, keys against the other hash, answers of Mews in every wrong shape, bytes that
are no signal, and settings that a tired person writes.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamer.config import Config
from streamer.core.checkpoint import Checkpoint
from streamer.core.heeding import heed
from streamer.core.lines import is_utf8
from streamer.core.partitioner import SEED, murmur2, murmur2_in_python
from streamer.core.records import UNREADABLE, Reason, identify, why_no_record
from streamer.core.signals import SignalRecord
from streamer.errors import ConfigError, MewsUnavailableError
from streamer.mews.answers import decode_added, decode_listed, decode_reason
from streamer.model import ConnectionName, EntityType, Export, StreamKey
from tests.models.depth import DEEPER
from tests.unit.config_files import CONNECTION, load

STREAM = StreamKey(ConnectionName("alpine"), EntityType.BILL)
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)

# --- lines ----------------------------------------------------------------------------------------------------

ids = st.sampled_from(["Id", "id", "Name"])
entities = st.dictionaries(ids, json_values, max_size=3)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """An entity, and often one with a piece missing, doubled, or of other bytes."""
    escaped = draw(st.booleans())
    line = json.dumps(draw(entities), ensure_ascii=escaped).encode(errors="surrogatepass")
    start, end = sorted((draw(st.integers(0, len(line))), draw(st.integers(0, len(line)))))
    return draw(
        st.sampled_from([line, line, line[:start], line[:start] + line[end:], line + line[start:end]])
        | st.binary(max_size=3).map(lambda odd: line[:start] + odd + line[start:])
    )


@DEEPER
@given(lines() | st.binary(max_size=20))
@example(b'{"Id":"\xed\xa0\x80"}')
@example(b'{"Id":"a"}' + b" " * 3)
@example(b'{"\x80id":null,"Id":"a"}')
def test_a_line_has_the_key_that_others_read_in_it_or_a_reason_to_have_none(line: bytes) -> None:
    # Strings that are skipped are not looked at, so whoever asks for the key asks for this too.
    if not is_utf8(line):
        assert why_no_record(line) is Reason.BAD_UTF8
        return
    try:
        key = identify(line).id.encode()
    except UNREADABLE:
        assert isinstance(why_no_record(line), Reason)
    else:
        assert json.loads(line)["Id"].encode() == key


@given(st.binary(max_size=80))
def test_both_hashes_agree_on_any_key(key: bytes) -> None:
    assert murmur2(key, SEED) == murmur2_in_python(key, SEED)


# --- answers --------------------------------------------------------------------------------------------------

fields = st.sampled_from(
    ["Id", "Status", "Files", "EntityType", "ExpiresUtc", "Filters", "Scope", "Url", "SizeInBytes"]
)
exports = st.dictionaries(fields, json_values, max_size=6) | json_values
bodies = st.one_of(
    st.binary(max_size=20),
    exports.map(lambda export: {"Export": export}),
    st.lists(exports, max_size=3).map(lambda listed: {"Exports": listed}),
    st.dictionaries(st.sampled_from(["Export", "Exports", "Message", "Details"]), json_values, max_size=3),
    json_values,
).map(lambda body: body if isinstance(body, bytes) else json.dumps(body).encode())


@DEEPER
@given(bodies)
def test_an_answer_of_mews_is_understood_or_is_no_answer(body: bytes) -> None:
    with contextlib.suppress(MewsUnavailableError):
        assert isinstance(decode_added(body), Export)
    with contextlib.suppress(MewsUnavailableError):
        assert all(export.id == key for key, export in decode_listed(body).items())
    reason = decode_reason(body)
    assert reason is None or "\n" not in reason


# --- signals --------------------------------------------------------------------------------------------------


@given(st.binary(max_size=60))
def test_bytes_that_are_no_signal_are_answered_and_change_nothing(value: bytes) -> None:
    outcome = heed(STREAM, Checkpoint(), SignalRecord(41, str(STREAM), value), now=NOW)
    assert outcome.checkpoint == Checkpoint(next_signal=42)
    assert [event.name for event in outcome.events] == ["signal_rejected"]


# --- settings -------------------------------------------------------------------------------------------------


def _keys(section: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(section)]


SECTIONS = {
    field.name: _keys(field.type)
    for field in msgspec.structs.fields(Config)
    if field.name in ("kafka", "topics", "exports", "http")
}
written = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ['"5s"', '"-5s"', '"0s"', '"999999999999d"', '"off"', '""', "[]", "{}", '{ env = "NONE" }', '["a", 1]']
    ),
    st.text(max_size=5).map(lambda text: json.dumps(text).replace("\\ud", "x")),
)
choices = st.lists(
    st.sampled_from([(section, key) for section, keys in SECTIONS.items() for key in keys]), max_size=3, unique=True
)


@settings(DEEPER, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices.flatmap(lambda chosen: st.tuples(st.just(chosen), st.lists(written, min_size=3, max_size=3))))
def test_settings_are_taken_or_refused_in_one_sentence(
    tmp_path: Path, chosen: tuple[list[tuple[str, str]], list[str]]
) -> None:
    by_section: dict[str, list[str]] = {}
    for (section, key), value in zip(*chosen, strict=False):
        by_section.setdefault(section, []).append(f"{key} = {value}")
    text = "".join(f"[{section}]\n" + "\n".join(found) + "\n" for section, found in by_section.items())
    refused = ""
    try:
        assert isinstance(load(tmp_path, text + CONNECTION), Config)
    except ConfigError as error:
        refused = str(error)
    assert "\n" not in refused
