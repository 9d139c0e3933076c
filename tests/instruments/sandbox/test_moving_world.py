"""What exports hold of a world that moves is exactly what was asked for, of one moment."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from streamer.sandbox.entities import ENTITY_TYPES
from streamer.sandbox.export_files import ExportFile
from streamer.sandbox.moving_lines import chain_id, enterprise_ids
from streamer.sandbox.moving_world import MovingWorld, Selection
from streamer.sandbox.simulator_settings import SimulatorSettings
from tests.unit.cases import cases

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(days=9, hours=5, minutes=3)
DAYS_2 = 2 * 86_400
WORLD = MovingWorld(SimulatorSettings(entities=100, files=3, cycle_seconds=DAYS_2), START)
FIELDS = json.loads((Path(__file__).parent / "entity_fields.json").read_text())


def content(files: list[ExportFile]) -> bytes:
    return b"".join(piece for file in files for piece in file.read(0, file.size))


def entities(selection: Selection, now: datetime = NOW) -> dict[str, dict[str, Any]]:
    """The entities of an export, by id."""
    files = WORLD.files(selection, now)
    found = [json.loads(line) for line in content(files).split(b"\n")[:-1]]
    by_id = {entity["Id"]: entity for entity in found}
    assert len(by_id) == len(found) == sum(file.lines for file in files)
    return by_id


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@cases("entity_type", ENTITY_TYPES)
def test_a_snapshot_is_the_truth_with_every_field_of_the_type(entity_type: str) -> None:
    files = WORLD.files(Selection(entity_type), NOW)
    parts = [content([file]) for file in files]
    assert [file.size for file in files] == [len(part) for part in parts]
    text = b"".join(parts)
    lines = text.split(b"\n")[:-1]
    assert lines == list(WORLD.truth(Selection(entity_type), NOW))
    assert len(lines) > 75
    assert all(list(json.loads(line)) == FIELDS[entity_type] for line in lines)
    for stand_in in (b"iiii", b"tttt-", b"dddd-", b"bbbb-bb-bbT", b"mmmm", b"7777777777"):
        assert stand_in not in text


def test_any_range_of_a_file_is_that_part_of_the_whole() -> None:
    file = WORLD.files(Selection("Payment"), NOW)[1]
    whole = content([file])
    for start in range(0, file.size, 7919):
        for length in (1, 500, 300_000):
            stop = min(start + length, file.size)
            assert b"".join(file.read(start, stop)) == whole[start:stop]


@cases("entity_type", ["Bill", "Company"])
def test_a_window_holds_just_what_a_snapshot_of_that_moment_says_was_updated_in_it(entity_type: str) -> None:
    start, end = NOW - timedelta(hours=9), NOW - timedelta(minutes=6)
    snapshot = entities(Selection(entity_type))
    expected = {key for key, entity in snapshot.items() if stamp(start) <= (entity["UpdatedUtc"] or "") < stamp(end)}
    window = entities(Selection(entity_type, updated=(start, end)))
    assert window.keys() == expected
    assert all(snapshot[key] == entity for key, entity in window.items())
    one = next(iter(window.values()))
    moment = datetime.fromisoformat(one["UpdatedUtc"])
    assert one["Id"] in entities(Selection(entity_type, updated=(moment, moment)))


def test_some_companies_bear_no_time_and_no_window_ever_shows_them() -> None:
    always = (START - timedelta(days=200), NOW)
    companies = entities(Selection("Company"))
    unstamped = companies.keys() - entities(Selection("Company", updated=always)).keys()
    assert unstamped
    assert {companies[key]["UpdatedUtc"] for key in unstamped} == {None}


def test_an_update_changes_some_of_an_entity_and_leaves_what_it_is() -> None:
    before, after = entities(Selection("Reservation"), NOW - timedelta(days=4)), entities(Selection("Reservation"))
    changed = [key for key in before.keys() & after.keys() if before[key] != after[key]]
    assert len(changed) > 50
    shares = []
    for key in changed:
        fields = [field for field in before[key] if before[key][field] != after[key][field]]
        assert "UpdatedUtc" in fields
        assert not {"Number", "CreatedUtc"} & set(fields)
        shares.append(len(fields) / len(before[key]))
    assert 0.02 < sum(shares) / len(shares) < 0.5


def test_a_merged_customer_is_not_active_and_says_into_whom() -> None:
    customers = entities(Selection("Customer"))
    merged = [customer for customer in customers.values() if customer["MergeTargetId"]]
    assert merged
    assert all(not customer["IsActive"] and customer["MergeTargetId"] in customers for customer in merged)
    assert {customer["IsActive"] for customer in customers.values() if not customer["MergeTargetId"]} == {True}


def test_enterprises_share_what_is_theirs_and_all_see_the_chain() -> None:
    whole = entities(Selection("Bill"))
    parts = [entities(Selection("Bill", frozenset({number}))) for number in range(3)]
    assert parts[0] | parts[1] | parts[2] == whole
    assert sum(map(len, parts)) == len(whole)
    for number, part in enumerate(parts):
        assert {bill["EnterpriseId"] for bill in part.values()} == {enterprise_ids(1)[number]}
    customers = entities(Selection("Customer", frozenset({1})))
    assert customers == entities(Selection("Customer"))
    assert {customer["ChainId"] for customer in customers.values()} == {chain_id(1)}


def test_a_bill_that_was_deleted_is_in_no_export_any_more() -> None:
    deleted = WORLD.deleted("Bill", NOW)
    before, after = entities(Selection("Bill"), START), entities(Selection("Bill"))
    assert before.keys() - after.keys() == before.keys() & deleted.keys()
    assert not after.keys() & deleted.keys()
    assert all(START < moment <= NOW for moment in deleted.values())
    assert not WORLD.deleted("Customer", NOW)


def test_ledger_entries_never_change_and_some_are_posted_to_a_day_before_they_came() -> None:
    days = (date(2026, 3, 2), date(2026, 3, 8))
    early, late = (entities(Selection("LedgerEntry", posted=days), moment) for moment in (NOW, NOW + timedelta(days=9)))
    assert {entry["PostingDate"] for entry in early.values()} == {f"2026-03-0{day}" for day in range(2, 9)}
    assert all(late[key] == entry for key, entry in early.items())
    # What came after the look bears a day that it has looked at already.
    assert late.keys() > early.keys()
    back = {entry["PostingDate"] < entry["CreatedUtc"][:10] for entry in late.values()}
    assert back == {True, False}


def test_every_moment_has_an_order_of_its_own_and_the_same_moment_the_same() -> None:
    def order(now: datetime) -> list[bytes]:
        return [line[:45] for line in WORLD.truth(Selection("Customer"), now)]

    assert order(NOW) == order(NOW)
    assert order(NOW) != order(NOW + timedelta(seconds=1))
    other = MovingWorld(SimulatorSettings(entities=100, cycle_seconds=DAYS_2, seed=2), START)
    assert not set(order(NOW)) & {line[:45] for line in other.truth(Selection("Customer"), NOW)}
