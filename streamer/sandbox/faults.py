"""Faults to order: rules as data, and the decision which of them strike a request.

A rule says where (`on`, `entity_type`, `file_index`), how often (`skip`, `times`, `probability`) and what
(`action`). Actions of one group exclude one another within a request: of two `status` rules the second
waits for the next one, while a `hold` and a `status` may strike together.
"""

import random
from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

import msgspec

Operation = Literal["add", "get_all", "file"]
Natural = Annotated[int, msgspec.Meta(ge=0)]


def snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="name", tag=snake):
    """One kind of trouble. Its group is its own name unless the class says otherwise."""

    on: ClassVar[frozenset[str]] = frozenset({"add", "get_all", "file"})
    group: ClassVar[str] = ""


# -- the answer as a whole ---------------------------------------------------------------------------------------------


class Hold(Fault, frozen=True):
    """Keep the answer back until released; `before` the processing too, or, `at_byte`, the rest of a file."""

    before: bool = False
    at_byte: Natural | None = None


class Status(Fault, frozen=True):
    """Answer with this status instead of processing. A text in `retry_after` is sent as it is; with
    `retry_after_date` the seconds are told as an HTTP date of the simulator's clock."""

    group = "answer"
    code: Annotated[int, msgspec.Meta(ge=200, le=599)]
    retry_after: int | str | None = None
    retry_after_date: bool = False
    message: str = "Made to order."
    body: Literal["json", "html", "empty"] = "json"


class NoContent(Fault, frozen=True):
    """Process, then answer 204 without a body."""

    group = "answer"


class Lost(Fault, frozen=True):
    """Process, then close the connection without an answer."""

    group = "answer"


class Reset(Fault, frozen=True):
    """Reset the connection without processing."""

    group = "answer"


# -- what an export looks like in an answer ----------------------------------------------------------------------------


class ApiFault(Fault, frozen=True):
    on = frozenset({"add", "get_all"})


class ExtraFields(ApiFault, frozen=True):
    """Fields that nobody has heard of, in the answer, the export and its files."""


class UnknownStatus(ApiFault, frozen=True):
    status: str = "Archived"


class UnknownEntityType(ApiFault, frozen=True):
    entity_type: str = "SpaceElevator"


class EarlyFiles(ApiFault, frozen=True):
    """A file and an expiry although the export is still pending."""


class SizeMismatch(ApiFault, frozen=True):
    """`SizeInBytes` is off by `by`."""

    by: int = 1


class MoreFiles(ApiFault, frozen=True):
    """Files that were not there before: copies of the last one."""

    count: Natural = 1


class FewerFiles(ApiFault, frozen=True):
    """The last files are not listed."""

    count: Natural = 1


class ChangedFiles(ApiFault, frozen=True):
    """The files have other names, and sizes that are off by `size_by`."""

    size_by: int = 0


class FailExport(Fault, frozen=True):
    """The export turns `Failed`; on a file, after `at_byte` bytes of it, and the connection closes."""

    group = "decree"
    at_byte: Natural = 0


class ExpireExport(Fault, frozen=True):
    """The export turns `Expired`; on a file, after `at_byte` bytes of it, and the connection closes."""

    group = "decree"
    at_byte: Natural = 0


class SpoilLine(Fault, frozen=True):
    """A line of the export, the first of a file, is no good: cut short, without an `Id`, no UTF-8, or with a number for
    its `UpdatedUtc`, as if the format had changed. The files are as long as they would be."""

    on = frozenset({"add"})
    how: Literal["cut", "no_id", "not_utf8", "other_type"] = "cut"
    file_index: Natural = 0


# -- downloads ---------------------------------------------------------------------------------------------------------


class FileFault(Fault, frozen=True):
    on = frozenset({"file"})


class Cut(FileFault, frozen=True):
    """The connection closes at a byte of the file."""

    group = "body"
    at_byte: Natural


class Short(FileFault, frozen=True):
    """The body ends at a byte of the file as if that were all, by its `Content-Length` or its last chunk."""

    group = "body"
    at_byte: Natural
    chunked: bool = False


class Stall(FileFault, frozen=True):
    """Not a byte more from here on, until released or the client leaves."""

    group = "body"
    at_byte: Natural = 0


class Drip(FileFault, frozen=True):
    group = "body"
    bytes_per_second: Annotated[float, msgspec.Meta(gt=0)]


class IgnoreRange(FileFault, frozen=True):
    """The whole file with 200, whatever range was asked for."""


class WrongContentRange(FileFault, frozen=True):
    """206, but the `Content-Range` and the bytes start `by` bytes beside what was asked for."""

    by: int = 1


class Gzip(FileFault, frozen=True):
    """`Content-Encoding: gzip` although nobody asked."""


class Redirect(FileFault, frozen=True):
    """Go elsewhere: to `location`, or to another valid link of the same file."""

    group = "answer"
    location: str | None = None
    code: Literal[301, 302, 303, 307, 308] = 307


class LinkExpired(FileFault, frozen=True):
    """403, as if the link's time were over."""

    group = "answer"


class NoEtag(FileFault, frozen=True):
    group = "etag"


class ChangedEtag(FileFault, frozen=True):
    group = "etag"


Action = (
    Hold | Status | NoContent | Lost | Reset | FailExport | ExpireExport
    | ExtraFields | UnknownStatus | UnknownEntityType | EarlyFiles
    | SpoilLine | SizeMismatch | MoreFiles | FewerFiles | ChangedFiles
    | Cut | Short | Stall | Drip | Redirect | LinkExpired
    | IgnoreRange | WrongContentRange | Gzip | NoEtag | ChangedEtag
)  # fmt: skip


class FaultRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    on: Operation
    action: Action
    entity_type: str | None = None
    file_index: Natural | None = None
    times: Annotated[int, msgspec.Meta(ge=1)] | None = 1  # None: for ever
    skip: Natural = 0
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if self.on not in self.action.on:
            raise ValueError(f"{snake(type(self.action).__name__)} cannot happen on {self.on}")


class FaultState(msgspec.Struct, frozen=True):
    """A rule as the control endpoint tells of it."""

    id: int
    rule: FaultRule
    skipped: int
    struck: int


class Strike(msgspec.Struct, frozen=True):
    """An action with the limits of the rule that it comes from."""

    action: Action
    entity_type: str | None = None
    file_index: int | None = None


class Faults:
    """The rules in force. The only state here is how often each has been skipped and has struck."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"{seed}/faults")
        self._rules: dict[int, FaultRule] = {}
        self._skipped: dict[int, int] = {}
        self._struck: dict[int, int] = {}

    def add(self, rule: FaultRule) -> int:
        number = len(self._struck) + 1
        self._rules[number], self._skipped[number], self._struck[number] = rule, 0, 0
        return number

    def clear(self) -> None:
        self._rules.clear()

    def state(self) -> list[FaultState]:
        return [FaultState(n, rule, self._skipped[n], self._struck[n]) for n, rule in self._rules.items()]

    def strike(self, on: Operation, entity_types: Collection[str], file_index: int | None = None) -> list[Strike]:
        """What strikes this request, in the order in which the rules were added."""
        strikes: dict[str, Strike] = {}
        for number, rule in self._rules.items():
            group = type(rule.action).group or type(rule.action).__name__
            if group not in strikes and _concerns(rule, on, entity_types, file_index) and self._is_due(number, rule):
                strikes[group] = Strike(rule.action, rule.entity_type, rule.file_index)
        return list(strikes.values())

    def _is_due(self, number: int, rule: FaultRule) -> bool:
        if rule.times is not None and self._struck[number] >= rule.times:
            return False
        if self._skipped[number] < rule.skip:
            self._skipped[number] += 1
            return False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return False
        self._struck[number] += 1
        return True


def _concerns(rule: FaultRule, on: Operation, entity_types: Collection[str], file_index: int | None) -> bool:
    if rule.on != on or (rule.entity_type is not None and rule.entity_type not in entity_types):
        return False
    return on != "file" or rule.file_index is None or rule.file_index == file_index


def rule_from_json(data: bytes) -> FaultRule:
    """A rule as the control endpoint takes it; an action without arguments may be just its name."""
    raw = msgspec.json.decode(data)
    if isinstance(raw, dict) and isinstance(raw.get("action"), str):
        raw["action"] = {"name": raw["action"]}
    return msgspec.convert(raw, FaultRule)
