from datetime import UTC, datetime, timedelta

from streamer.sandbox.exports import Delays, Export, Status
from tests.unit.cases import cases

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def export() -> Export:
    return Export(
        id="x",
        access_token="secret",
        entity_type="Bill",
        scope={},
        filters=None,
        requested_at=NOW,
        since=NOW,
        delays=Delays(timedelta(seconds=2), timedelta(seconds=3), timedelta(days=7)),
        files=[],
    )


@cases(
    ("seconds", "status"),
    [(0, "Pending"), (1.9, "Pending"), (2, "Processing"), (5, "Success"), (604_804, "Success"), (604_805, "Expired")],
)
def test_an_export_lives_by_the_clock(seconds: float, status: str) -> None:
    assert export().status(NOW + timedelta(seconds=seconds)).value == status


def test_a_decree_stands_above_the_clock() -> None:
    failed = export()
    failed.decreed = Status.FAILED
    assert failed.status(NOW) is Status.FAILED
    assert not failed.is_running(NOW)


def test_an_export_does_not_tell_its_token() -> None:
    assert "secret" not in repr(export())
