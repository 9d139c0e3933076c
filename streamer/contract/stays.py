"""Reservations, and what takes spaces out of sale."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET

from streamer.contract.amounts import CurrencyValueOld
from streamer.contract.fields import (
    PERSONAL,
    AccountType,
    Entity,
    FreeText,
    LinkToPerson,
    Moment,
    Part,
    Perhaps,
    PersonUuid,
    Uuid,
    known,
)

ServiceOrderState = Annotated[
    str,
    known(
        "Inquired", "Confirmed", "Started", "Processed", "Canceled", "Optional", "Requested",
    ),
]  # fmt: skip
ServiceOrderOrigin = Annotated[
    str,
    known(
        "Distributor", "ChannelManager", "Commander", "Import", "Connector", "Navigator",
    ),
]  # fmt: skip
ServiceOrderCommanderOrigin = Annotated[
    str,
    known(
        "InPerson", "Channel", "Phone", "Email", "Website", "Message", "CallCenter", "RoomingList",
    ),
]  # fmt: skip
ServiceOrderCancellationReason = Annotated[
    str,
    known(
        "Other", "ConfirmationMissed", "BookedElsewhere", "ForceMajeure", "GuestComplaint", "NoShow",
        "PriceTooHigh", "ServiceNotAvailable", "InputError", "InvalidPayment", "TravelAgency",
        "RequestedByGuest", "Update", "BookingAbandoned", "RequestedByBooker",
    ),
]  # fmt: skip
ReservationPurpose = Annotated[str, known("Leisure", "Business", "Student")]
ActivityState = Annotated[str, known("Deleted", "Active")]
AvailabilityBlockState = Annotated[str, known("Confirmed", "Optional", "Inquired", "Canceled")]
PickupDistribution = Annotated[str, known("AllInOneGroup", "IndividualGroups")]
ReleaseStrategy = Annotated[str, known("FixedRelease", "RollingRelease", "None")]
ResourceBlockType = Annotated[str, known("OutOfOrder", "InternalUse")]


class ServiceOrderOptions(Part, frozen=True, kw_only=True):
    """Switches of a reservation."""

    owner_checked_in: bool
    all_companions_checked_in: bool
    any_companion_checked_in: bool
    connector_check_in: bool


class ReservationPersonCount(Part, frozen=True, kw_only=True):
    """How many of an age category."""

    age_category_id: Uuid
    count: int


class Reservation(Entity, frozen=True, kw_only=True):
    """A stay, as of the version of 2023-06-06. The enterprise is known by its service."""

    service_id: Uuid
    account_id: PersonUuid
    account_type: AccountType
    creator_profile_id: PersonUuid
    updater_profile_id: PersonUuid
    booker_id: Perhaps[PersonUuid] = UNSET
    number: LinkToPerson
    state: ServiceOrderState
    origin: ServiceOrderOrigin
    commander_origin: Perhaps[ServiceOrderCommanderOrigin] = UNSET
    origin_details: Perhaps[FreeText] = UNSET
    created_utc: Moment
    updated_utc: Moment
    cancelled_utc: Perhaps[Moment] = UNSET
    voucher_id: Perhaps[Uuid] = UNSET
    business_segment_id: Perhaps[Uuid] = UNSET
    options: ServiceOrderOptions
    rate_id: Uuid
    credit_card_id: Perhaps[PersonUuid] = UNSET
    group_id: Uuid
    requested_resource_category_id: Uuid
    assigned_resource_id: Perhaps[Uuid] = UNSET
    availability_block_id: Perhaps[Uuid] = UNSET
    partner_company_id: Perhaps[Uuid] = UNSET
    travel_agency_id: Perhaps[Uuid] = UNSET
    assigned_resource_locked: Perhaps[bool] = UNSET
    channel_number: Perhaps[LinkToPerson] = UNSET
    channel_manager_number: Perhaps[LinkToPerson] = UNSET
    cancellation_reason: Perhaps[ServiceOrderCancellationReason] = UNSET
    released_utc: Perhaps[Moment] = UNSET
    scheduled_start_utc: Annotated[Moment, PERSONAL]
    actual_start_utc: Annotated[Perhaps[Moment], PERSONAL] = UNSET
    scheduled_end_utc: Annotated[Moment, PERSONAL]
    actual_end_utc: Annotated[Perhaps[Moment], PERSONAL] = UNSET
    purpose: Perhaps[ReservationPurpose] = UNSET
    qr_code_data: Perhaps[LinkToPerson] = UNSET
    person_counts: list[ReservationPersonCount]
    start_utc: Moment  # deprecated
    end_utc: Moment  # deprecated


class PaxCount(Part, frozen=True, kw_only=True):
    """How many spaces for how many persons."""

    person_count: int
    unit_count: int


class AvailabilityAdjustment(Entity, frozen=True, kw_only=True):
    """Spaces taken out of availability for a while, or given back."""

    availability_block_id: Perhaps[Uuid] = UNSET
    resource_category_id: Uuid
    first_time_unit_start_utc: Moment
    last_time_unit_start_utc: Moment
    unit_count: int
    release_override_utc: Perhaps[Moment] = UNSET
    updated_utc: Moment
    is_active: bool
    pax_counts: Perhaps[list[PaxCount]] = UNSET
    first_time_unit_release_utc: Perhaps[Moment] = UNSET
    start_utc: Perhaps[Moment] = UNSET  # deprecated
    end_utc: Perhaps[Moment] = UNSET  # deprecated
    activity_state: ActivityState  # deprecated


class AvailabilityBlock(Entity, frozen=True, kw_only=True):
    """Spaces held for a group."""

    enterprise_id: Perhaps[Uuid] = UNSET
    service_id: Perhaps[Uuid] = UNSET
    rate_id: Perhaps[Uuid] = UNSET
    voucher_id: Perhaps[Uuid] = UNSET
    booker_id: Perhaps[PersonUuid] = UNSET
    company_id: Perhaps[Uuid] = UNSET
    travel_agency_id: Perhaps[Uuid] = UNSET
    budget: Perhaps[CurrencyValueOld] = UNSET
    state: AvailabilityBlockState
    reservation_purpose: Perhaps[ReservationPurpose] = UNSET
    created_utc: Moment
    updated_utc: Moment
    first_time_unit_start_utc: Moment
    last_time_unit_start_utc: Moment
    released_utc: Perhaps[Moment] = UNSET
    rolling_release_offset: Perhaps[str] = UNSET
    external_identifier: Perhaps[str] = UNSET
    name: Perhaps[FreeText] = UNSET
    notes: Perhaps[FreeText] = UNSET
    pickup_distribution: PickupDistribution
    is_active: bool
    quote_id: Perhaps[Uuid] = UNSET
    availability_block_number: str
    release_strategy: ReleaseStrategy
    purchase_order_number: Perhaps[str] = UNSET
    business_segment_id: Perhaps[Uuid] = UNSET
    canceled_utc: Perhaps[Moment] = UNSET
    cancellation_reason: Perhaps[ServiceOrderCancellationReason] = UNSET
    cancellation_reason_detail: Perhaps[FreeText] = UNSET


class ResourceBlock(Entity, frozen=True, kw_only=True):
    """A space that is out of order or in internal use."""

    enterprise_id: Uuid
    assigned_resource_id: Uuid
    is_active: bool
    type: ResourceBlockType
    start_utc: Moment
    end_utc: Moment
    created_utc: Moment
    updated_utc: Moment
    deleted_utc: Perhaps[Moment] = UNSET
    name: FreeText
    notes: Perhaps[FreeText] = UNSET
