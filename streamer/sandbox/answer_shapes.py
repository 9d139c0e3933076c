"""Faults that change what an export looks like in an answer; the export itself stays as it is."""

from collections.abc import Callable, Iterable
from typing import Any

from streamer.sandbox import faults
from streamer.sandbox.export_api import as_utc
from streamer.sandbox.exports import Export

EXTRA = {"Flavour": "ripe", "Nested": {"Future": [1, None, "🆕"]}}


def shaped(
    answer: dict[str, Any], export: Export, strikes: Iterable[faults.Strike], link: Callable[[str], str]
) -> dict[str, Any]:
    """The answer as the faults that concern this export's type have it."""
    for strike in strikes:
        if strike.entity_type in {None, export.entity_type}:
            answer = _shape(answer, export, strike, link)
    return answer


def _shape(answer: dict[str, Any], export: Export, strike: faults.Strike, link: Callable[[str], str]) -> dict[str, Any]:
    files: list[dict[str, Any]] = answer["Files"]
    match strike.action:
        case faults.ExtraFields():
            return EXTRA | answer | {"Files": [EXTRA | file for file in files], "Extra": EXTRA}
        case faults.UnknownStatus(status=status):
            return answer | {"Status": status}
        case faults.UnknownEntityType(entity_type=entity_type):
            return answer | {"EntityType": entity_type}
        case faults.EarlyFiles():
            size = export.files[0].size if export.files else 1000
            early = [{"Url": link(export.file_name(0)), "SizeInBytes": size}]
            return answer | {"Files": files or early, "ExpiresUtc": as_utc(export.expires_at)}
        case faults.SizeMismatch(by=by):
            resized = [
                file | {"SizeInBytes": file["SizeInBytes"] + by} if strike.file_index in {None, index} else file
                for index, file in enumerate(files)
            ]
            return answer | {"Files": resized}
        case faults.MoreFiles(count=count) if files:
            size, first = files[-1]["SizeInBytes"], len(files)
            more = [
                {"Url": link(export.file_name(index)), "SizeInBytes": size} for index in range(first, first + count)
            ]
            return answer | {"Files": files + more}
        case faults.FewerFiles(count=count):
            return answer | {"Files": files[: max(len(files) - count, 0)]}
        case faults.ChangedFiles(size_by=by):
            changed = [
                {"Url": link(f"{export.id}-{index}-changed.jsonl"), "SizeInBytes": file["SizeInBytes"] + by}
                for index, file in enumerate(files)
            ]
            return answer | {"Files": changed}
        case _:
            return answer
