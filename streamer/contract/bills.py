"""Bills and the ledger."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET

from streamer.contract.fields import (
    CONTACT,
    FREE_TEXT,
    LINK,
    PERSONAL,
    AccountType,
    Day,
    Entity,
    FreeText,
    LinkToPerson,
    Moment,
    Part,
    Perhaps,
    PersonUuid,
    Title,
    Uuid,
    known,
)

BillState = Annotated[str, known("Open", "Closed")]
BillType = Annotated[str, known("Receipt", "Invoice")]
BillCorrectionState = Annotated[str, known("Bill", "CorrectiveBill")]
BillCorrectionType = Annotated[
    str,
    known(
        "Cancellation", "Edit", "CreditNote", "Reinstatement", "ReceivablePaymentsBalance",
    ),
]  # fmt: skip
BillAssigneeDataDiscriminator = Annotated[str, known("BillCustomerData", "BillCompanyData")]
AccountingItemType = Annotated[
    str,
    known(
        "OrderItem", "OutletItem", "Invoice", "Payment", "DepositBalancingPayment",
        "CityLedgerBalancingPayment", "DepositItem",
    ),
]  # fmt: skip
LedgerType = Annotated[str, known("Revenue", "Tax", "Payment", "Deposit", "Guest", "City", "NonRevenue")]
LedgerEntryType = Annotated[str, known("Debit", "Credit")]


class Address(Part, frozen=True, kw_only=True):
    """An address as it stands on a bill."""

    line1: Perhaps[str] = UNSET
    line2: Perhaps[str] = UNSET
    city: Perhaps[str] = UNSET
    postal_code: Perhaps[str] = UNSET
    subdivision_code: Perhaps[str] = UNSET
    country_code: Perhaps[str] = UNSET


class BillOptions(Part, frozen=True, kw_only=True):
    """Switches of a bill."""

    display_customer: Perhaps[bool] = UNSET
    display_taxation: Perhaps[bool] = UNSET
    track_receivable: Perhaps[bool] = UNSET
    display_cid: Perhaps[bool] = UNSET
    rebated: Perhaps[bool] = UNSET


class BillCustomerData(Part, frozen=True, kw_only=True):
    """A guest as they were when the bill was closed."""

    id: str
    address: Perhaps[Address] = UNSET
    legal_identifiers: Perhaps[dict[str, str]] = UNSET
    billing_code: Perhaps[str] = UNSET
    last_name: str
    first_name: Perhaps[str] = UNSET
    second_last_name: Perhaps[str] = UNSET
    title_prefix: Perhaps[Title] = UNSET
    tax_identifier: Perhaps[str] = UNSET


class BillCompanyData(Part, frozen=True, kw_only=True):
    """A company as it was when the bill was closed."""

    id: str | None
    address: Perhaps[Address] = UNSET
    legal_identifiers: Perhaps[dict[str, str]] = UNSET
    billing_code: Perhaps[str] = UNSET
    name: str
    fiscal_identifier: Perhaps[str] = UNSET
    additional_tax_identifier: Perhaps[str] = UNSET
    duns: Perhaps[str] = msgspec.field(name="DUNS", default=UNSET)
    telephone: Perhaps[str] = UNSET
    tax_identifier: Perhaps[str] = UNSET
    invoicing_email: Perhaps[str] = UNSET
    department: Perhaps[str] = UNSET


class BillAccountData(Part, frozen=True, kw_only=True):
    """A discriminator, and one sibling for each case: all null but one."""

    discriminator: BillAssigneeDataDiscriminator
    bill_customer_data: Perhaps[BillCustomerData] = UNSET
    bill_company_data: Perhaps[BillCompanyData] = UNSET


class BillOwner(Part, frozen=True, kw_only=True):
    """Owner of a bill: the discriminator says whether ``Value`` has the shape of ``BillCustomerData`` or another."""

    discriminator: Perhaps[BillAssigneeDataDiscriminator] = UNSET
    value: Perhaps[dict[str, Any]] = UNSET


class BillEnterpriseData(Part, frozen=True, kw_only=True):
    """The hotel and its bank account as they were when the bill was closed."""

    additional_tax_identifier: Perhaps[str] = UNSET
    company_name: Perhaps[str] = UNSET
    bank_account: Perhaps[str] = UNSET
    bank_name: Perhaps[str] = UNSET
    iban: Perhaps[str] = UNSET
    bic: Perhaps[str] = UNSET


class Bill(Entity, frozen=True, kw_only=True):
    """A bill. Owner and enterprise are filled in once it is closed; a deleted one just stops appearing."""

    name: Perhaps[FreeText] = UNSET
    enterprise_id: Uuid
    account_id: PersonUuid
    account_type: AccountType
    associated_account_ids: Annotated[Perhaps[list[Uuid]], LINK] = UNSET
    counter_id: Perhaps[Uuid] = UNSET
    state: BillState
    type: BillType
    number: Perhaps[LinkToPerson] = UNSET
    variable_symbol: Perhaps[LinkToPerson] = UNSET
    created_utc: Moment
    issued_utc: Perhaps[Moment] = UNSET
    taxed_utc: Perhaps[Moment] = UNSET
    paid_utc: Perhaps[Moment] = UNSET
    due_utc: Perhaps[Moment] = UNSET
    last_reminder_date_utc: Perhaps[Moment] = UNSET
    updated_utc: Moment
    purchase_order_number: Perhaps[str] = UNSET
    notes: Perhaps[FreeText] = UNSET
    options: Perhaps[BillOptions] = UNSET
    owner_data: Annotated[Perhaps[BillOwner], PERSONAL] = UNSET
    associated_account_data: Annotated[Perhaps[list[BillAccountData]], PERSONAL] = UNSET
    enterprise_data: Perhaps[BillEnterpriseData] = UNSET
    correction_state: BillCorrectionState
    correction_type: Perhaps[BillCorrectionType] = UNSET
    corrected_bill_id: Perhaps[Uuid] = UNSET
    customer_id: Perhaps[PersonUuid] = UNSET  # deprecated
    company_id: Perhaps[Uuid] = UNSET  # deprecated
    revenue: Annotated[Perhaps[list[dict[str, Any]]], FREE_TEXT] = UNSET  # deprecated
    payments: Annotated[Perhaps[list[dict[str, Any]]], FREE_TEXT] = UNSET  # deprecated
    order_items: Perhaps[list[dict[str, Any]]] = UNSET  # deprecated
    payment_items: Perhaps[list[dict[str, Any]]] = UNSET  # deprecated
    assignee_data: Annotated[Perhaps[BillOwner], PERSONAL] = UNSET  # deprecated
    company_details: Annotated[Perhaps[BillCompanyData], CONTACT] = UNSET  # deprecated


class LedgerEntry(Entity, frozen=True, kw_only=True):
    """A line of the ledger; never changes. ``Value`` is positive, its sign is in ``LedgerEntryType``. Beta at Mews."""

    enterprise_id: Uuid
    transaction_id: Perhaps[Uuid] = UNSET
    account_id: PersonUuid
    bill_id: Perhaps[PersonUuid] = UNSET
    accounting_category_id: Perhaps[Uuid] = UNSET
    accounting_item_id: Uuid
    accounting_item_type: AccountingItemType
    ledger_type: LedgerType
    ledger_entry_type: LedgerEntryType
    posting_date: Day
    value: float
    net_base_value: Perhaps[float] = UNSET
    tax_rate_code: Perhaps[str] = UNSET
    created_utc: Moment
