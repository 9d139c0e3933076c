from datetime import UTC, datetime
from typing import Any

import pytest

from streamer.sandbox.api_requests import ApiError, add_request, credentials, get_all_request
from tests.unit.cases import cases

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TOKENS = {"ClientToken": "c", "AccessToken": "a", "Client": "tests 1.0"}
POSTING = {"LedgerEntryFilters": {"Posting": {"Start": "2026-01-01", "End": "2026-01-31"}}}
ID = "0d2f1c9e-7b8a-4c3d-9e21-6f5a4b3c2d1e"


def window(start: str, end: str) -> dict[str, Any]:
    return {"UpdatedUtc": {"StartUtc": start, "EndUtc": end}}


@cases(
    "request_fields",
    [
        {"EntityType": "OrderItem"},
        {"EntityType": "OrderItem", "Scope": None, "Filters": None},
        {"EntityType": "Customer", "Scope": {"ChainIds": [ID]}},
        {"EntityType": "Customer", "Scope": {"ChainIds": [ID], "EnterpriseIds": None}},
        {"EntityType": "Bill", "Scope": {"EnterpriseIds": [ID]}},
        {"EntityType": "LedgerEntry", "Scope": {"EnterpriseIds": [ID]}, "Filters": POSTING},
        {"EntityType": "Customer", "LanguageCode": "en-GB", "CultureCode": "en-GB"},
        {"EntityType": "LedgerEntry", "Filters": POSTING},
        {"EntityType": "Bill", "Filters": window("2026-05-01T11:00:00Z", "2026-05-01T11:55:00Z")},
        {"EntityType": "Bill", "Filters": window("2026-05-01T11:00:00.155Z", "2026-05-01T11:00:00.155Z")},
        {"EntityType": "Bill", "Filters": window("2025-11-02T11:55:00Z", "2026-05-01T11:55:00Z")},
    ],
)
def test_what_the_documentation_allows_is_accepted(request_fields: dict[str, Any]) -> None:
    assert add_request(TOKENS | request_fields, NOW).entity_type == request_fields["EntityType"]


@cases(
    ("request_fields", "parameter"),
    [
        ({}, "EntityType"),
        ({"EntityType": ""}, "EntityType"),
        ({"EntityType": "Room"}, "EntityType"),
        ({"EntityType": 1}, "EntityType"),
        ({"EntityType": "Bill", "Pretty": True}, "Pretty"),
        ({"EntityType": "Bill", "LanguageCode": "en-GB"}, "LanguageCode"),
        ({"EntityType": "Bill", "Scope": {"Enterprises": []}}, "Scope.Enterprises"),
        ({"EntityType": "Bill", "Scope": {"EnterpriseIds": []}}, "Scope.EnterpriseIds"),
        ({"EntityType": "Bill", "Scope": {"EnterpriseIds": ["x"]}}, "Scope.EnterpriseIds[0]"),
        ({"EntityType": "Bill", "Scope": {"ChainIds": [ID]}}, "Scope.ChainIds"),
        ({"EntityType": "Company", "Scope": {"EnterpriseIds": [ID]}}, "Scope.EnterpriseIds"),
        ({"EntityType": "Bill", "Filters": {"CreatedUtc": None}}, "Filters.CreatedUtc"),
        (
            {"EntityType": "Bill", "Filters": {"UpdatedUtc": {"StartUtc": "2026-01-01T00:00:00Z"}}},
            "Filters.UpdatedUtc.EndUtc",
        ),
        (
            {"EntityType": "Bill", "Filters": window("2026-01-01T00:00:00", "2026-01-02T00:00:00Z")},
            "Filters.UpdatedUtc.StartUtc",
        ),
        (
            {"EntityType": "Bill", "Filters": window("2026-05-01T11:00:00Z", "2026-05-01T11:55:01Z")},
            "Filters.UpdatedUtc.EndUtc",
        ),
        (
            {"EntityType": "Bill", "Filters": window("2026-05-01T11:00:00Z", "2026-05-01T10:00:00Z")},
            "Filters.UpdatedUtc",
        ),
        (
            {"EntityType": "Bill", "Filters": window("2025-11-02T11:54:59Z", "2026-05-01T11:55:00Z")},
            "Filters.UpdatedUtc",
        ),
        ({"EntityType": "LedgerEntry"}, "Filters.LedgerEntryFilters"),
        ({"EntityType": "Bill", "Filters": POSTING}, "Filters.LedgerEntryFilters"),
        (
            {"EntityType": "LedgerEntry", "Filters": POSTING | window("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")},
            "Filters.UpdatedUtc",
        ),
    ],
)
def test_anything_else_is_refused_by_name(request_fields: dict[str, Any], parameter: str) -> None:
    with pytest.raises(ApiError) as caught:
        add_request(TOKENS | request_fields, NOW)
    assert (caught.value.code, caught.value.message) == (400, f"Invalid {parameter}")


@cases("missing", ["ClientToken", "AccessToken", "Client"])
@cases("value", [None, "", 7])
def test_each_credential_is_needed(missing: str, value: object) -> None:
    with pytest.raises(ApiError, match=f"Invalid {missing}"):
        credentials(TOKENS | {missing: value})


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [({"Scope": {}}, "Scope"), ({"Filters": window("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")}, "UpdatedUtc")],
)
def test_filters_are_refused_where_that_is_the_mode(fields: dict[str, Any], parameter: str) -> None:
    with pytest.raises(ApiError, match=parameter):
        add_request(TOKENS | {"EntityType": "Bill"} | fields, NOW, filters_refused=True)
    add_request(TOKENS | {"EntityType": "Bill"}, NOW, filters_refused=True)


@cases("ids", [None, [], ["no uuid"], [ID] * 1001])
def test_get_all_wants_one_to_a_thousand_ids(ids: object) -> None:
    with pytest.raises(ApiError, match="ExportIds"):
        get_all_request(TOKENS | {"ExportIds": ids})
    assert len(get_all_request(TOKENS | {"ExportIds": [ID] * 1000}).export_ids) == 1000
