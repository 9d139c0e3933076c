"""Customers and companies, which belong to a chain."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET

from streamer.contract.fields import (
    PERSONAL,
    SENSITIVE,
    Contact,
    Entity,
    FreeText,
    LinkToPerson,
    Moment,
    Part,
    Perhaps,
    Personal,
    PersonUuid,
    Sensitive,
    Title,
    Uuid,
    known,
)

Sex = Annotated[str, known("Male", "Female")]
CustomerClassification = Annotated[
    str,
    known(
        "PaymasterAccount", "Blacklist", "Media", "LoyaltyProgram", "PreviousComplaint", "Returning", "Staff",
        "FriendOrFamily", "TopManagement", "Important", "VeryImportant", "Problematic", "Cashlist",
        "DisabledPerson", "Military", "Airline", "HealthCompliant", "InRoom", "WaitingForRoom", "Student",
        "Blocklist",
    ),
]  # fmt: skip
CustomerOptions = Annotated[
    str,
    known(
        "None", "SendMarketingEmails", "Invoiceable", "BillAddressObjection", "SendMarketingPostalMail",
        "SendPartnerMarketingEmails", "SendPartnerMarketingPostalMail", "WithdrawCardConsent",
        "GuestPhotoConsent", "IdPhotosConsent",
    ),
]  # fmt: skip
ResourceFeatureClassification = Annotated[
    str,
    known(
        "SeaView", "RiverView", "OceanView", "TwinBeds", "DoubleBed", "RollawayBed", "UpperBed", "LowerBed",
        "Balcony", "AccessibleBathroom", "AccessibleRoom", "ElevatorAccess", "HighFloor", "Kitchenette",
        "AirConditioning", "PrivateJacuzzi", "PrivateSauna", "EnsuiteRoom", "PrivateBathroom", "SharedBathroom",
    ),
]  # fmt: skip
CreditRatingBasic = Annotated[str, known("CreditOk", "PaymentRequiredUpfront", "LocalDecisionRequired")]


class OldAddress(Part, frozen=True, kw_only=True):
    """An address in the older shape."""

    id: Perhaps[Uuid] = UNSET
    line1: Perhaps[str] = UNSET
    line2: Perhaps[str] = UNSET
    city: Perhaps[str] = UNSET
    postal_code: Perhaps[str] = UNSET
    country_code: Perhaps[str] = UNSET
    country_subdivision_code: Perhaps[str] = UNSET
    latitude: Perhaps[float] = UNSET
    longitude: Perhaps[float] = UNSET


class CompanyOptions(Part, frozen=True, kw_only=True):
    """Switches of a company."""

    invoiceable: Perhaps[bool] = UNSET
    add_fees_to_invoices: Perhaps[bool] = UNSET
    add_tax_deducted_payment_to_invoices: Perhaps[bool] = UNSET


class CreditRating(Part, frozen=True, kw_only=True):
    """How far a company is trusted."""

    basic: Perhaps[CreditRatingBasic] = UNSET


class Customer(Entity, frozen=True, kw_only=True):
    """A guest or contact, whose profile a whole chain shares."""

    id: PersonUuid
    chain_id: Uuid
    number: LinkToPerson
    title: Annotated[Perhaps[Title], PERSONAL] = UNSET
    sex: Annotated[Perhaps[Sex], PERSONAL] = UNSET
    first_name: Perhaps[Personal] = UNSET
    last_name: Personal
    second_last_name: Perhaps[Personal] = UNSET
    nationality_code: Perhaps[Personal] = UNSET
    preferred_language_code: Perhaps[Personal] = UNSET
    language_code: Perhaps[Personal] = UNSET
    birth_date: Perhaps[Personal] = UNSET
    birth_country_code: Perhaps[Personal] = UNSET
    birth_country_subdivision_code: Perhaps[Personal] = UNSET
    birth_place: Perhaps[Personal] = UNSET
    occupation: Perhaps[Personal] = UNSET
    email: Perhaps[Personal] = UNSET
    has_ota_email: Perhaps[bool] = UNSET
    phone: Perhaps[Personal] = UNSET
    tax_identification_number: Perhaps[Sensitive] = UNSET
    loyalty_code: Perhaps[Personal] = UNSET
    accounting_code: Perhaps[LinkToPerson] = UNSET
    billing_code: Perhaps[LinkToPerson] = UNSET
    notes: Perhaps[FreeText] = UNSET
    car_registration_number: Perhaps[Personal] = UNSET
    dietary_requirements: Perhaps[Sensitive] = UNSET
    created_utc: Moment
    updated_utc: Moment
    address_id: Perhaps[PersonUuid] = UNSET
    classifications: Annotated[list[CustomerClassification], SENSITIVE]
    options: Annotated[list[CustomerOptions], PERSONAL]
    italian_destination_code: Perhaps[Personal] = UNSET
    italian_fiscal_code: Perhaps[Sensitive] = UNSET
    italian_lottery_code: Perhaps[Personal] = UNSET
    company_id: Perhaps[PersonUuid] = UNSET
    merge_target_id: Perhaps[PersonUuid] = UNSET
    is_active: bool
    preferred_space_features: Annotated[list[ResourceFeatureClassification], SENSITIVE]
    creator_profile_id: PersonUuid
    updater_profile_id: PersonUuid
    passport: Annotated[Perhaps[dict[str, Any]], SENSITIVE] = UNSET  # deprecated
    identity_card: Annotated[Perhaps[dict[str, Any]], SENSITIVE] = UNSET  # deprecated
    visa: Annotated[Perhaps[dict[str, Any]], SENSITIVE] = UNSET  # deprecated
    drivers_license: Annotated[Perhaps[dict[str, Any]], SENSITIVE] = UNSET  # deprecated
    address: Annotated[Perhaps[OldAddress], PERSONAL] = UNSET  # deprecated
    activity_state: Perhaps[str] = UNSET  # deprecated


class Company(Entity, frozen=True, kw_only=True):
    """A company or travel agency, whose profile a whole chain shares."""

    chain_id: Uuid
    name: Personal
    mother_company_id: Perhaps[Uuid] = UNSET
    invoicing_email: Perhaps[Contact] = UNSET
    website_url: Perhaps[str] = UNSET
    invoice_due_interval: Perhaps[str] = UNSET
    options: CompanyOptions
    credit_rating: CreditRating
    department: Perhaps[str] = UNSET
    duns_number: Perhaps[str] = UNSET
    reference_identifier: Perhaps[str] = UNSET
    accounting_code: Perhaps[str] = UNSET
    additional_tax_identifier: Perhaps[str] = UNSET
    billing_code: Perhaps[str] = UNSET
    contact: Perhaps[Contact] = UNSET
    contact_person: Perhaps[Contact] = UNSET
    identifier: Perhaps[Personal] = UNSET
    iata: Perhaps[str] = UNSET
    is_active: bool
    notes: Perhaps[FreeText] = UNSET
    number: int
    tax_identifier: Perhaps[Personal] = UNSET
    telephone: Perhaps[Contact] = UNSET
    created_utc: Perhaps[Moment] = UNSET
    updated_utc: Perhaps[Moment] = UNSET
    address_id: Perhaps[Uuid] = UNSET
    merge_target_id: Perhaps[Uuid] = UNSET
    external_identifier: Perhaps[str] = UNSET
    electronic_invoice_identifier: Perhaps[str] = UNSET  # deprecated
    address: Annotated[Perhaps[OldAddress], PERSONAL] = UNSET  # deprecated
    tax_identification_number: Perhaps[Personal] = UNSET  # deprecated
