"""The lines of made-up exports: any number of entities, any part of them at once, as fast as a copy.

A *page* is a few hundred lines made once from templates. The entities of a type are endless repetitions of
that page, in which the places that must differ (`Id`, `UpdatedUtc`, numbers, dates) are written over for
each repetition. All those places have a fixed width, so a page is as long as any other, and byte offset,
page and entity follow from one another by arithmetic. Nothing is held but one page per type.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamer.sandbox.entity_accounting import bill, ledger_entry, order_item, payment
from streamer.sandbox.entity_profiles import company, customer
from streamer.sandbox.entity_stays import (
    availability_adjustment,
    availability_block,
    reservation,
    resource_block,
)
from streamer.sandbox.entity_values import DATE_SLOT, ID_SLOT, NUMBER_SLOT, STAMP_SLOT, Draw

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

PAGE_LINES = 512
BIGGEST_NUMBER = 10 ** len(NUMBER_SLOT)

TEMPLATES: dict[str, Callable[[Draw], dict[str, Any]]] = {
    "OrderItem": order_item,
    "Payment": payment,
    "Reservation": reservation,
    "Customer": customer,
    "Company": company,
    "Bill": bill,
    "AvailabilityAdjustment": availability_adjustment,
    "AvailabilityBlock": availability_block,
    "ResourceBlock": resource_block,
    "LedgerEntry": ledger_entry,
}
ENTITY_TYPES = tuple(TEMPLATES)


class Page(msgspec.Struct, frozen=True):
    """Lines, and the places to write over in them: the positions of their bytes, and their lines."""

    text: Bytes
    starts: list[int]  # of each line, and the end of the last
    slots: dict[str, tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]
    seed: int

    def offset_of(self, entity: int) -> int:
        """The byte offset of an entity's line in the endless repetition of the page."""
        repetition, line = divmod(entity, PAGE_LINES)
        return repetition * self.starts[-1] + self.starts[line]

    def read(self, start: int, stop: int, times_of: Callable[[Numbers], Numbers]) -> Iterator[bytes]:
        """The bytes `[start, stop)` of the endless repetition, one piece for each page."""
        length = self.starts[-1]
        for repetition in range(start // length, -(-stop // length)):
            filled, begin = self._filled(repetition, times_of), repetition * length
            yield filled[max(start - begin, 0) : stop - begin].tobytes()

    def _filled(self, repetition: int, times_of: Callable[[Numbers], Numbers]) -> Bytes:
        entities = np.arange(repetition * PAGE_LINES, (repetition + 1) * PAGE_LINES, dtype=np.int64)
        values = {ID_SLOT: ids_of(entities, self.seed)}
        if NUMBER_SLOT in self.slots:
            values[NUMBER_SLOT] = digits_of(BIGGEST_NUMBER // 10 + entities % (BIGGEST_NUMBER // 10 * 9))
        if STAMP_SLOT in self.slots:
            values[STAMP_SLOT] = stamps_of(times_of(entities))
            values[DATE_SLOT] = values[STAMP_SLOT][:, : len(DATE_SLOT)]
        text = self.text.copy()
        for slot, (positions, lines) in self.slots.items():
            text[positions] = values[slot][lines]
        return text


@cache
def page(entity_type: str, seed: int, line_bytes: int | None = None) -> Page:
    """The page of an entity type: lifelike, or, given `line_bytes`, plain lines of exactly that length."""
    draw = Draw(f"{seed}/{entity_type}")
    if line_bytes is None:
        # One line in sixteen spells everything beyond ASCII as escapes, as other writers of JSON do.
        lines = [render(TEMPLATES[entity_type](draw), escaped=n % 16 == 15) for n in range(PAGE_LINES)]
    else:
        lines = [_plain_line(draw, line_bytes) for _ in range(PAGE_LINES)]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    text = b"".join(line + b"\n" for line in lines)
    number = ENTITY_TYPES.index(entity_type) << 40 ^ seed
    return Page(np.frombuffer(text, dtype=np.uint8), starts, dict(_slots(text, starts)), number)


def render(entity: dict[str, Any], *, escaped: bool = False) -> bytes:
    return json.dumps(entity, ensure_ascii=escaped, separators=(",", ":")).encode()


def _plain_line(draw: Draw, length: int) -> bytes:
    entity = {"Id": ID_SLOT, "UpdatedUtc": STAMP_SLOT, "Number": NUMBER_SLOT, "Notes": ""}
    missing = length - len(render(entity))
    if missing < 0:
        raise ValueError(f"a line needs at least {length - missing} bytes, not {length}")
    words = "".join(draw.uuid().replace("7", "x") for _ in range(missing // 36 + 1))
    return render(entity | {"Notes": words[:missing]})


def _slots(text: bytes, starts: list[int]) -> Iterator[tuple[str, tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]]:
    for slot in (ID_SLOT, STAMP_SLOT, DATE_SLOT, NUMBER_SLOT):
        found, position = [], text.find(slot.encode())
        while position >= 0:
            found.append(position)
            position = text.find(slot.encode(), position + len(slot))
        if found:
            first = np.array(found, dtype=np.intp)
            lines = np.searchsorted(np.array(starts), first, side="right").astype(np.intp) - 1
            yield slot, (first[:, None] + np.arange(len(slot), dtype=np.intp), lines)


def ids_of(entities: Numbers, seed: int) -> Bytes:
    """UUIDs that cannot repeat: the last twelve digits are a one-to-one mixture of the entity's number."""
    numbers = entities.astype(np.uint64)
    tail = numbers & np.uint64(2**48 - 1)
    for factor in (0x9E3779B97F4B, 0xD1B54A32D193):  # odd, so multiplying loses nothing
        tail = (tail * np.uint64(factor) + np.uint64(seed)) & np.uint64(2**48 - 1)
        tail ^= tail >> np.uint64(25)
    head = mixed(numbers + (np.uint64(seed) << np.uint64(20)))
    raw = np.empty((len(entities), 16), dtype=np.uint8)
    raw[:, :8] = head.astype(">u8").view(np.uint8).reshape(-1, 8)
    raw[:, 8:] = tail.astype(">u8").view(np.uint8).reshape(-1, 8)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 0] & 0x3F | 0x80
    raw[:, 9] = raw[:, 7] ^ raw[:, 2]
    text = np.full((len(entities), 36), ord("-"), dtype=np.uint8)
    text[:, _HEX_PLACES] = _HEX[raw].reshape(-1, 32)
    return text


def mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of splitmix64."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)


def digits_of(numbers: Numbers) -> Bytes:
    powers = 10 ** np.arange(len(NUMBER_SLOT) - 1, -1, -1, dtype=np.int64)
    digits: Bytes = (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)
    return digits


def stamps_of(times: Numbers) -> Bytes:
    text = np.full((len(times), len(STAMP_SLOT)), ord("Z"), dtype=np.uint8)
    written = np.datetime_as_string(times.astype("datetime64[s]")).astype("S19")
    text[:, :-1] = written.view(np.uint8).reshape(-1, 19)
    return text


_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype=np.uint8).reshape(256, 2)
_HEX_PLACES = np.array([place for place in range(36) if ID_SLOT[place] != "-"], dtype=np.intp)
