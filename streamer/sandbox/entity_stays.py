"""Made-up entities of stays: reservations, availability blocks and adjustments, resource blocks."""

import json
from typing import Any

from streamer.sandbox.entity_values import COMPANIES, ID_SLOT, NUMBER_SLOT, STAMP_SLOT, Draw

ORIGINS = ("Distributor", "ChannelManager", "Commander", "Import", "Connector", "Navigator")
COMMANDER_ORIGINS = (
    "InPerson", "Channel", "Phone", "Email", "Website", "Message", "CallCenter", "RoomingList",
)  # fmt: skip
CANCELLATION_REASONS = (
    "Other", "ConfirmationMissed", "BookedElsewhere", "ForceMajeure", "GuestComplaint", "NoShow",
    "PriceTooHigh", "ServiceNotAvailable", "InputError", "InvalidPayment", "TravelAgency",
    "RequestedByGuest", "Update", "BookingAbandoned", "RequestedByBooker",
)  # fmt: skip
STATES = ("Inquired", "Confirmed", "Started", "Processed", "Processed", "Canceled", "Optional", "Requested")
PURPOSES = ("Leisure", "Business", "Student")


def reservation(draw: Draw) -> dict[str, Any]:
    state, group, account, staff = draw.one(STATES), draw.uuid(), draw.uuid(), draw.one(draw.staff)
    canceled = draw.utc() if state == "Canceled" else None
    start, end = draw.utc(), draw.utc()
    # JSON inside a JSON string, as the API sends it.
    qr_code = {"Reservations": [{"Id": ID_SLOT, "GroupId": group, "CustomerId": account}]}
    return {
        "Id": ID_SLOT,
        "ServiceId": draw.uuid(),
        "AccountId": account,
        "AccountType": draw.one(("Customer", "Customer", "Company")),
        "CreatorProfileId": staff,
        "UpdaterProfileId": draw.one(draw.staff),
        "BookerId": draw.maybe_uuid(0.3),
        "Number": NUMBER_SLOT,
        "State": state,
        "Origin": draw.one(ORIGINS),
        "CommanderOrigin": draw.maybe(draw.one(COMMANDER_ORIGINS)),
        "OriginDetails": draw.maybe("Messe „Frühling“ 🌷", 0.1),
        "CreatedUtc": draw.utc(),
        "UpdatedUtc": STAMP_SLOT,
        "CancelledUtc": canceled,
        "VoucherId": draw.maybe_uuid(0.1),
        "BusinessSegmentId": draw.maybe_uuid(),
        "Options": {
            "OwnerCheckedIn": draw.chance(0.5),
            "AllCompanionsCheckedIn": draw.chance(0.5),
            "AnyCompanionCheckedIn": draw.chance(0.5),
            "ConnectorCheckIn": draw.chance(0.1),
        },
        "RateId": draw.uuid(),
        "CreditCardId": draw.maybe_uuid(),
        "GroupId": group,
        "RequestedResourceCategoryId": draw.uuid(),
        "AssignedResourceId": draw.maybe_uuid(0.8),
        "AvailabilityBlockId": draw.maybe_uuid(0.1),
        "PartnerCompanyId": draw.maybe_uuid(0.1),
        "TravelAgencyId": draw.maybe_uuid(0.3),
        "AssignedResourceLocked": draw.chance(0.2),
        "ChannelNumber": draw.maybe(f"BDC-{draw.digits(10)}", 0.6),
        "ChannelManagerNumber": draw.maybe(f"SM-{draw.digits(5)}-1", 0.6),
        "CancellationReason": draw.one(CANCELLATION_REASONS) if canceled else None,
        "ReleasedUtc": draw.maybe_utc(0.1),
        "StartUtc": start,
        "EndUtc": end,
        "ScheduledStartUtc": start,
        "ActualStartUtc": draw.maybe(start),
        "ScheduledEndUtc": end,
        "ActualEndUtc": draw.maybe(end),
        "Purpose": draw.maybe(draw.one(PURPOSES)),
        "QrCodeData": draw.maybe(json.dumps(qr_code, separators=(",", ":")), 0.7),
        "PersonCounts": [{"AgeCategoryId": draw.uuid(), "Count": draw.number(1, 4)} for _ in range(draw.number(1, 3))],
    }


def availability_adjustment(draw: Draw) -> dict[str, Any]:
    active = draw.chance(0.9)
    return {
        "Id": ID_SLOT,
        "AvailabilityBlockId": draw.maybe_uuid(0.8),
        "ResourceCategoryId": draw.uuid(),
        "StartUtc": None,
        "EndUtc": None,
        "FirstTimeUnitStartUtc": draw.utc(),
        "LastTimeUnitStartUtc": draw.utc(),
        "UnitCount": -draw.number(1, 40),
        "ActivityState": "Active" if active else "Deleted",
        "ReleaseOverrideUtc": draw.maybe_utc(0.2),
        "UpdatedUtc": STAMP_SLOT,
        "IsActive": active,
        "PaxCounts": draw.maybe(
            [{"PersonCount": persons, "UnitCount": draw.number(1, 20)} for persons in range(1, 1 + draw.number(1, 5))],
            0.6,
        ),
        "FirstTimeUnitReleaseUtc": draw.maybe_utc(),
    }


def availability_block(draw: Draw) -> dict[str, Any]:
    state = draw.one(("Confirmed", "Optional", "Inquired", "Canceled"))
    canceled = draw.utc() if state == "Canceled" else None
    strategy = draw.one(("FixedRelease", "RollingRelease", "None"))
    return {
        "Id": ID_SLOT,
        "EnterpriseId": draw.one(draw.enterprises),
        "ServiceId": draw.uuid(),
        "RateId": draw.uuid(),
        "VoucherId": draw.maybe_uuid(0.1),
        "BookerId": draw.maybe_uuid(),
        "CompanyId": draw.maybe_uuid(),
        "TravelAgencyId": draw.maybe_uuid(0.2),
        "Budget": draw.maybe(
            {"Currency": "EUR", "Value": draw.number(100, 9000), "Net": None, "Tax": None, "TaxRate": None}
        ),
        "State": state,
        "ReservationPurpose": draw.maybe(draw.one(PURPOSES)),
        "CreatedUtc": draw.utc(),
        "UpdatedUtc": STAMP_SLOT,
        "FirstTimeUnitStartUtc": draw.utc(),
        "LastTimeUnitStartUtc": draw.utc(),
        "ReleasedUtc": draw.maybe_utc(0.1),
        "RollingReleaseOffset": f"P{draw.number(1, 60)}D" if strategy == "RollingRelease" else None,
        "ExternalIdentifier": draw.maybe(f"GRP-2026-{draw.digits(3)}"),
        "Name": draw.maybe(f"{draw.one(COMPANIES)} – svatba 💒"),
        "Notes": draw.notes(),
        "PickupDistribution": draw.one(("AllInOneGroup", "IndividualGroups")),
        "IsActive": state != "Canceled",
        "QuoteId": draw.maybe_uuid(0.1),
        "AvailabilityBlockNumber": NUMBER_SLOT,
        "ReleaseStrategy": strategy,
        "PurchaseOrderNumber": draw.maybe(f"PO/{draw.digits(5)}", 0.1),
        "BusinessSegmentId": draw.maybe_uuid(),
        "CanceledUtc": canceled,
        "CancellationReason": draw.one(CANCELLATION_REASONS) if canceled else None,
        "CancellationReasonDetail": draw.notes(0.5) if canceled else None,
    }


def resource_block(draw: Draw) -> dict[str, Any]:
    active = draw.chance(0.8)
    return {
        "Id": ID_SLOT,
        "EnterpriseId": draw.one(draw.enterprises),
        "AssignedResourceId": draw.uuid(),
        "IsActive": active,
        "Type": draw.one(("OutOfOrder", "InternalUse")),
        "StartUtc": draw.utc(),
        "EndUtc": draw.utc(),
        "CreatedUtc": draw.utc(),
        "UpdatedUtc": STAMP_SLOT,
        "DeletedUtc": None if active else draw.utc(),
        "Name": f"{draw.one(('Shower repair', 'Malování', 'Dusche undicht', '🛠️'))} {draw.number(101, 420)}",
        "Notes": draw.notes(),
    }
