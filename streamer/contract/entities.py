"""The ten entities as structs, and an example of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from streamer.contract.bills import Bill, LedgerEntry
from streamer.contract.fields import Entity
from streamer.contract.payments import Payment
from streamer.contract.profiles import Company, Customer
from streamer.contract.sales import OrderItem
from streamer.contract.stays import AvailabilityAdjustment, AvailabilityBlock, Reservation, ResourceBlock
from streamer.model import EntityType

ENTITIES: Mapping[EntityType, type[Entity]] = {
    EntityType.ORDER_ITEM: OrderItem,
    EntityType.PAYMENT: Payment,
    EntityType.RESERVATION: Reservation,
    EntityType.CUSTOMER: Customer,
    EntityType.COMPANY: Company,
    EntityType.BILL: Bill,
    EntityType.AVAILABILITY_ADJUSTMENT: AvailabilityAdjustment,
    EntityType.AVAILABILITY_BLOCK: AvailabilityBlock,
    EntityType.RESOURCE_BLOCK: ResourceBlock,
    EntityType.LEDGER_ENTRY: LedgerEntry,
}


@cache
def example_of(entity_type: EntityType) -> dict[str, Any]:
    """A made-up entity of this type."""
    text = resources.files(__package__).joinpath("examples.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, dict[str, Any]])[entity_type]
