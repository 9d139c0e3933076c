from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from streamer.errors import MewsUnavailableError
from streamer.mews.answers import REASON_CHARACTERS, decode_added, decode_listed, decode_reason
from streamer.model import Export, ExportFile, ExportStatus, Link, Window
from tests.unit.cases import cases

FILE = {"Url": "https://blobs.test/e1-0.jsonl?sig=s", "SizeInBytes": 7}


def added(**fields: object) -> Export:
    export = {"Id": "e1", "Status": "Success", "EntityType": "Bill", **fields}
    return decode_added(msgspec.json.encode({"Export": export}))


def test_an_export_is_read_with_its_files_in_order() -> None:
    other = {"Url": "https://blobs.test/e1-1.jsonl?sig=t", "SizeInBytes": 0, "Checksum": "new"}
    export = added(Files=[FILE, other], ExpiresUtc="2026-11-29T10:00:00Z", Scope={"EnterpriseIds": None})
    assert export == Export(
        id=export.id,
        status=ExportStatus.SUCCESS,
        files=(
            ExportFile(Link("https://blobs.test/e1-0.jsonl?sig=s"), 7),
            ExportFile(Link("https://blobs.test/e1-1.jsonl?sig=t"), 0),
        ),
        expires_at=datetime(2026, 11, 29, 10, tzinfo=UTC),
        entity_type="Bill",
    )


@cases(
    ("filters", "window"),
    [
        (None, None),
        ({"UpdatedUtc": None}, None),
        ("nonsense", None),
        (
            {"UpdatedUtc": {"StartUtc": "2026-11-01T00:00:00Z", "EndUtc": "2026-11-02T00:00:30Z"}},
            Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, 0, 0, 30, tzinfo=UTC)),
        ),
        (
            {"LedgerEntryFilters": {"Posting": {"Start": "2026-11-01", "End": "2026-11-02"}}},
            Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)),
        ),
    ],
)
def test_what_an_export_was_filtered_by_is_told_as_a_window(filters: object, window: Window | None) -> None:
    assert added(Filters=filters).window == window


@cases("word", ["Pending", "Processing", "Success", "Failed", "Expired"])
def test_each_documented_status_is_known(word: str) -> None:
    export = added(Status=word)
    assert (export.status.value, export.raw_status) == (word, "")


@cases(("status", "word"), [("Queued", "Queued"), ("unknown", "unknown"), (None, "no status"), (3, "no status")])
def test_an_unheard_of_status_is_kept_as_it_is(status: object, word: str) -> None:
    export = added(Status=status)
    assert (export.status, export.raw_status) == (ExportStatus.UNKNOWN, word)


@cases("entity_type", ["Spaceship", None, 5, []])
def test_an_unheard_of_entity_type_is_no_matter(entity_type: object) -> None:
    assert added(EntityType=entity_type).status is ExportStatus.SUCCESS


def test_missing_and_null_are_the_same() -> None:
    bare = decode_added(b'{"Export":{"Id":"e1","Status":"Pending"}}')
    assert bare == added(Status="Pending", Files=None, ExpiresUtc=None, EntityType=None, Filters=None)


def test_files_and_an_expiry_are_welcome_while_pending() -> None:
    export = added(Status="Pending", Files=[FILE], ExpiresUtc="2026-11-29T10:00:00Z")
    assert (export.status, len(export.files)) == (ExportStatus.PENDING, 1)


@cases(
    "files",
    [
        [{"Url": None, "SizeInBytes": 7}],
        [{"Url": "", "SizeInBytes": 7}],
        [{"Url": "https://blobs.test/f"}],
        [{"Url": "https://blobs.test/f", "SizeInBytes": -1}],
        [FILE, {"SizeInBytes": 7}],
        "none",
    ],
)
def test_a_success_whose_files_can_not_be_read_is_waited_on(files: object) -> None:
    export = added(Files=files)
    assert (export.status, export.files) == (ExportStatus.UNKNOWN, ())
    assert export.raw_status == "Success, with unreadable files"


def test_unreadable_files_of_an_expired_export_are_no_matter() -> None:
    assert added(Status="Expired", Files="none").status is ExportStatus.EXPIRED


@cases(
    ("text", "time"),
    [
        ("2026-11-29T10:00:00.1234567Z", datetime(2026, 11, 29, 10, 0, 0, 123457, tzinfo=UTC)),
        ("2026-11-29T12:00:00+02:00", datetime(2026, 11, 29, 10, tzinfo=UTC)),
        ("2026-11-29T10:00:00", datetime(2026, 11, 29, 10, tzinfo=UTC)),
        ("soon", None),
        (5, None),
    ],
)
def test_an_expiry_is_a_time_in_utc_or_nothing(text: object, time: datetime | None) -> None:
    assert added(ExpiresUtc=text).expires_at == time


@cases("body", [b"", b"<html>", b"[]", b"{}", b'{"Export":null}', b'{"Export":{"Id":""}}', b'{"Export":{"Id":\xff}}'])
def test_an_add_that_names_no_export_is_no_answer(body: bytes) -> None:
    with pytest.raises(MewsUnavailableError):
        decode_added(body)


def test_exports_that_can_not_be_read_do_not_hide_the_others() -> None:
    listed = decode_listed(b'{"Exports":[{"Id":null},5,{"Id":"e1","Status":"Failed"},{"Id":""},null],"New":1}')
    assert {i: e.status for i, e in listed.items()} == {"e1": ExportStatus.FAILED}


@cases("body", [b"{}", b'{"Exports":null}', b'{"Exports":[]}'])
def test_an_answer_that_lists_nothing_is_an_answer(body: bytes) -> None:
    assert decode_listed(body) == {}


@cases("body", [b"", b"<html>", b"[]", b"null", b'{"Exports":5}', b'{"Exports":["\xff"'])
def test_an_answer_that_is_no_list_is_no_answer(body: bytes) -> None:
    with pytest.raises(MewsUnavailableError):
        decode_listed(body)


def test_a_reason_is_one_line_without_secrets() -> None:
    body = msgspec.json.encode({"Message": " Invalid\r\n token abc\u0000 ", "RequestId": None, "Details": [1]})
    assert decode_reason(body, secrets=["abc", ""]) == "Invalid token ***"


def test_a_long_reason_is_shortened() -> None:
    reason = decode_reason(msgspec.json.encode({"Message": "x" * 1000}))
    assert reason is not None
    assert len(reason) == REASON_CHARACTERS
    assert reason.endswith("…")


@cases("body", [b"{}", b'{"Message":null}', b'{"Message":""}'])
def test_a_refusal_may_lack_a_reason(body: bytes) -> None:
    assert decode_reason(body) == "no message"


@cases("body", [b"", b"<html>", b'"text"', b'{"Message":5}'])
def test_a_refusal_that_is_not_in_mews_form_has_no_reason(body: bytes) -> None:
    assert decode_reason(body) is None
