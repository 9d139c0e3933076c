"""Made-up profiles: customers and companies, which belong to a chain rather than to an enterprise."""

from typing import Any

from streamer.sandbox.entity_values import (
    COUNTRIES,
    FIRST_NAMES,
    ID_SLOT,
    LANGUAGES,
    LAST_NAMES,
    NUMBER_SLOT,
    OCCUPATIONS,
    STAMP_SLOT,
    Draw,
)

CLASSIFICATIONS = (
    "PaymasterAccount", "Blacklist", "Media", "LoyaltyProgram", "PreviousComplaint", "Returning", "Staff",
    "FriendOrFamily", "TopManagement", "Important", "VeryImportant", "Problematic", "Cashlist",
    "DisabledPerson", "Military", "Airline", "HealthCompliant", "InRoom", "WaitingForRoom", "Student",
    "Blocklist",
)  # fmt: skip
CUSTOMER_OPTIONS = (
    "SendMarketingEmails", "Invoiceable", "BillAddressObjection", "SendMarketingPostalMail",
    "SendPartnerMarketingEmails", "SendPartnerMarketingPostalMail", "WithdrawCardConsent",
    "GuestPhotoConsent", "IdPhotosConsent",
)  # fmt: skip
SPACE_FEATURES = (
    "SeaView", "RiverView", "OceanView", "TwinBeds", "DoubleBed", "RollawayBed", "UpperBed", "LowerBed",
    "Balcony", "AccessibleBathroom", "AccessibleRoom", "ElevatorAccess", "HighFloor", "Kitchenette",
    "AirConditioning", "PrivateJacuzzi", "PrivateSauna", "EnsuiteRoom", "PrivateBathroom", "SharedBathroom",
)  # fmt: skip


def customer(draw: Draw) -> dict[str, Any]:
    first, last, language = draw.one(FIRST_NAMES), draw.one(LAST_NAMES), draw.one(LANGUAGES)
    address_id, active, staff = draw.maybe_uuid(0.7), draw.chance(0.95), draw.one(draw.staff)
    return {
        "Id": ID_SLOT,
        "ChainId": draw.chain,
        "Number": NUMBER_SLOT,
        "Title": draw.maybe(draw.one(("Mister", "Miss", "Misses"))),
        "Sex": draw.maybe(draw.one(("Male", "Female"))),
        "FirstName": draw.maybe(first, 0.95),
        "LastName": last,
        "SecondLastName": draw.maybe(draw.one(LAST_NAMES), 0.1),
        "NationalityCode": draw.maybe(draw.one(COUNTRIES), 0.8),
        "PreferredLanguageCode": draw.maybe(language, 0.8),
        "LanguageCode": draw.maybe(language, 0.8),
        "BirthDate": draw.maybe(draw.date(), 0.6),
        "BirthCountryCode": draw.maybe(draw.one(COUNTRIES)),
        "BirthCountrySubdivisionCode": draw.maybe(f"{draw.one(COUNTRIES)}-{draw.digits(2)}", 0.2),
        "BirthPlace": draw.maybe("Brno"),
        "Occupation": draw.maybe(draw.one(OCCUPATIONS), 0.3),
        "Email": draw.maybe(f"guest.{draw.digits(7)}@mail.example", 0.8),
        "HasOtaEmail": draw.chance(0.2),
        "Phone": draw.maybe(f"+420700{draw.digits(6)}", 0.7),
        "TaxIdentificationNumber": draw.maybe(f"CZ{draw.digits(8)}", 0.1),
        "LoyaltyCode": draw.maybe(f"GOLD-{draw.digits(5)}", 0.2),
        "AccountingCode": draw.maybe(draw.digits(5), 0.1),
        "BillingCode": draw.maybe(draw.digits(4), 0.1),
        "Notes": draw.notes(),
        "CarRegistrationNumber": draw.maybe(f"1AB {draw.digits(4)}", 0.2),
        "DietaryRequirements": draw.maybe(draw.one(("Vegetarian", "Halal", "Bez lepku 🌾", "Sans arachides")), 0.2),
        "CreatedUtc": draw.utc(),
        "UpdatedUtc": STAMP_SLOT,
        "Passport": None,
        "IdentityCard": None,
        "Visa": None,
        "DriversLicense": None,
        "Address": draw.address(subdivision="CountrySubdivisionCode", with_id=address_id) if address_id else None,
        "AddressId": address_id,
        "Classifications": draw.some(CLASSIFICATIONS),
        "Options": draw.some(CUSTOMER_OPTIONS) or ["None"],
        "ItalianDestinationCode": draw.maybe(draw.digits(7), 0.05),
        "ItalianFiscalCode": draw.maybe(f"RSSMRA80A01H{draw.digits(3)}U", 0.05),
        "ItalianLotteryCode": draw.maybe(f"LC{draw.digits(6)}", 0.05),
        "CompanyId": draw.maybe_uuid(0.2),
        "MergeTargetId": None if active else draw.maybe_uuid(),
        "ActivityState": "Active" if active else "Deleted",
        "IsActive": active,
        "PreferredSpaceFeatures": draw.some(SPACE_FEATURES),
        "CreatorProfileId": staff,
        "UpdaterProfileId": draw.one(draw.staff),
    }


def company(draw: Draw) -> dict[str, Any]:
    name, active, address_id = draw.company(), draw.chance(0.95), draw.maybe_uuid(0.8)
    host = f"company-{draw.digits(5)}.example"
    return {
        "Id": ID_SLOT,
        "ChainId": draw.chain,
        "Name": name,
        "MotherCompanyId": draw.maybe_uuid(0.1),
        "InvoicingEmail": draw.maybe(f"invoices@{host}", 0.7),
        "WebsiteUrl": draw.maybe(f"https://{host}/?ref=hotel&lang=ű"),
        "InvoiceDueInterval": draw.maybe(f"P{draw.one((14, 30, 60))}D"),
        "Options": {
            "Invoiceable": draw.chance(0.8),
            "AddFeesToInvoices": draw.chance(0.3),
            "AddTaxDeductedPaymentToInvoices": draw.maybe(False),
        },
        "CreditRating": {
            "Basic": draw.maybe(draw.one(("CreditOk", "PaymentRequiredUpfront", "LocalDecisionRequired")))
        },
        "Department": draw.maybe("Événements"),
        "DunsNumber": draw.maybe(draw.digits(9)),
        "ReferenceIdentifier": draw.maybe(f"ERP-{draw.digits(4)}"),
        "AccountingCode": draw.maybe(draw.digits(5)),
        "AdditionalTaxIdentifier": draw.maybe(draw.digits(8), 0.1),
        "BillingCode": draw.maybe(draw.digits(4), 0.1),
        "Contact": draw.maybe("reception desk,\nweekdays 9–17"),
        "ContactPerson": draw.maybe(draw.person()),
        "ElectronicInvoiceIdentifier": None,
        "Identifier": draw.maybe(f"HRB {draw.digits(6)}"),
        "Iata": draw.maybe(draw.digits(8), 0.2),
        "IsActive": active,
        "Notes": draw.notes(),
        # Nineteen digits: a reader that takes numbers for doubles gets this one wrong.
        "Number": int(f"900719925{NUMBER_SLOT}"),
        "TaxIdentifier": draw.maybe(f"DE{draw.digits(9)}"),
        "Telephone": draw.maybe(f"+4930{draw.digits(8)}"),
        "CreatedUtc": draw.maybe_utc(0.9),
        "UpdatedUtc": STAMP_SLOT,
        "Address": draw.address(subdivision="CountrySubdivisionCode", with_id=address_id) if address_id else None,
        "AddressId": address_id,
        "MergeTargetId": None if active else draw.maybe_uuid(),
        "TaxIdentificationNumber": None,
        "ExternalIdentifier": draw.maybe(f"nw-{draw.digits(4)}"),
    }
